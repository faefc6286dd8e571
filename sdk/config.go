package sdk

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Bounds of what an instance keeps of parsed configs. Over one of them it
// forgets all and starts anew.
const (
	maxConfigs    = 256
	maxConfigJSON = 1 << 20 // bytes of JSON
)

// configs keeps parsed configs between the events of this instance.
var configs configCache

type configCache struct {
	mu     sync.Mutex // tests run handlers on several goroutines
	parsed map[configKey]any
	bytes  int
}

// configKey is a config and the type that it was parsed into, as a nil pointer
// of this type.
type configKey struct {
	id  uint64
	typ any
}

// Config returns the config of the event's app, or in Check the one to check,
// as encoding/json parses it into a T. It is parsed once for each distinct
// config and then kept: callers share it and don't change it. Keys that T
// doesn't have are ignored, because the schema in plugin.yaml has refused
// what is not allowed.
func Config[T any](c *Call) (*T, error) {
	key := configKey{c.Event.ConfigID, (*T)(nil)}
	if v, ok := configs.get(key); ok {
		return v.(*T), nil
	}
	src, err := c.ConfigJSON()
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(src, v); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	configs.put(key, v, len(src))
	return v, nil
}

func (c *configCache) get(key configKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.parsed[key]
	return v, ok
}

// put keeps v, parsed from size bytes, unless its config has no identity.
func (c *configCache) put(key configKey, v any, size int) {
	if key.id == 0 || size > maxConfigJSON {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parsed == nil || len(c.parsed) == maxConfigs || c.bytes+size > maxConfigJSON {
		c.parsed, c.bytes = make(map[configKey]any), 0
	}
	c.parsed[key] = v
	c.bytes += size
}
