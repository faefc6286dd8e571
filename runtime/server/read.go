package server

import (
	"fmt"
	"os"

	"github.com/weft-dev/weft/runtime/config"
)

// readConfig reads and checks a pipeline.yaml. Where it is wrong the error is
// config.Problems, else the problems are warnings.
func readConfig(file string, noEnv bool) (*config.Config, config.Problems, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w: name it with -c", err)
	}
	cfg, problems := config.Parse(file, src, config.Options{Getenv: os.LookupEnv, ReadFile: os.ReadFile, NoEnv: noEnv})
	if problems.Err() != nil {
		return nil, problems, problems
	}
	return cfg, problems, nil
}
