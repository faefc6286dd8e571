package server

import "github.com/weft-dev/weft/runtime/pipeline"

// Graph draws the pipelines of file as a Mermaid flowchart. It reads no variable
// and no secret file, and loads no plugin: what hangs on a variable without a
// default is drawn as "…". Where the file is wrong the error is config.Problems.
func Graph(file string) (string, error) {
	cfg, _, err := readConfig(file, true, nil)
	if err != nil {
		return "", err
	}
	return pipeline.Graph(cfg), nil
}
