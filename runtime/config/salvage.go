package config

import (
	"bytes"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxSalvaged is how many apps Salvage tells of.
const maxSalvaged = 10_000

// Salvaged is what can be told of a file that need not be a good one.
type Salvaged struct {
	// Apps are the apps that the file seems to have, at most 10,000.
	Apps []SalvagedApp
	// Data is server.data, absolute or relative to the working directory; "" where
	// there is none that can be read.
	Data string
}

// SalvagedApp is an app as far as it can be told.
type SalvagedApp struct {
	Name         string
	CallbackPath string // "" where there is none that can be read
}

// Salvage reads what it can of a pipeline.yaml, or of a file that it includes,
// that Parse refuses. It is a guess: by the lines where it is no YAML at all.
func Salvage(file string, src []byte, opt Options) Salvaged {
	var out Salvaged
	if len(src) > MaxFile {
		return out
	}
	d := newDecoder(file, opt, new(usage))
	data := ""
	doc, _, err := documents(src)
	switch {
	case err != nil:
		out.Apps, data = salvageLines(src)
	case doc != nil && len(doc.Content) == 1:
		out.Apps = salvageApps(child(doc.Content[0], "apps"))
		if n := child(child(doc.Content[0], "server"), "data"); n != nil && n.Kind == yaml.ScalarNode {
			data = n.Value
		}
	}
	if ex := d.expand.scalar(data); ex.text != "" && !ex.unknown && len(ex.problems) == 0 && !strings.Contains(ex.text, "\x00") {
		out.Data = d.relative(ex.text)
	}
	return out
}

// child returns the value of a key of a mapping, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func salvageApps(apps *yaml.Node) []SalvagedApp {
	var out []SalvagedApp
	if apps == nil || apps.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(apps.Content) && len(out) < maxSalvaged; i += 2 {
		if !nameForm.MatchString(apps.Content[i].Value) {
			continue
		}
		a := SalvagedApp{Name: apps.Content[i].Value}
		if p := child(apps.Content[i+1], "callback_path"); p != nil && pathForm.MatchString(p.Value) {
			a.CallbackPath = p.Value
		}
		out = append(out, a)
	}
	return out
}

// Lines of a file in the block style: a key, and a few that are looked for.
var (
	keyLine  = regexp.MustCompile(`^( *)([a-z][a-z0-9_-]*):(?:\s|$)`)
	pathLine = regexp.MustCompile(`\bcallback_path:[ \t]*["']?((?:/[A-Za-z0-9._~=@+,-]+)+)`)
	dataLine = regexp.MustCompile(`\bdata:[ \t]*(?:"([^"]*)"|'([^']*)'|([^\s"',{}#]+))`)
)

// salvageLines looks for apps by their indentation, and for server.data.
func salvageLines(src []byte) (apps []SalvagedApp, data string) {
	section, indent := "", 0
	for line := range bytes.Lines(src) {
		key := keyLine.FindSubmatch(line)
		if key != nil && len(key[1]) == 0 {
			section, indent = string(key[2]), 0
		}
		switch section {
		case "apps":
			if key != nil && len(key[1]) > 0 && (indent == 0 || len(key[1]) == indent) && len(apps) < maxSalvaged && nameForm.Match(key[2]) {
				indent = len(key[1])
				apps = append(apps, SalvagedApp{Name: string(key[2])})
			}
			if p := pathLine.FindSubmatch(line); p != nil && len(apps) > 0 {
				apps[len(apps)-1].CallbackPath = string(p[1])
			}
		case "server":
			if m := dataLine.FindSubmatch(line); m != nil && data == "" {
				data = string(m[1]) + string(m[2]) + string(m[3])
			}
		}
	}
	return apps, data
}
