package config

import "reflect"

// Restart tells what of c a host that runs running can't take over: keys of
// server, and the store, which hold as long as the process does. It is empty
// where there is nothing.
func (c *Config) Restart(running *Config) Problems {
	var ps Problems
	differs := func(name string, pos Pos) {
		ps = append(ps, Problem{Pos: pos, Text: name + " is not what the host runs with: the change needs a restart", Advice: "restart the host, or take the change back"})
	}
	for _, k := range serverSection().keys {
		held, ok := k.value.(interface{ same(a, b *Server) bool })
		if ok && !held.same(&c.Server, &running.Server) {
			differs("server."+k.name, c.server.at(k.name))
		}
	}
	moved := c.Store.Dir != running.Store.Dir && (c.Server.Data == running.Server.Data || c.Store.Redis != nil || running.Store.Redis != nil)
	if moved || !reflect.DeepEqual(c.Store.Redis, running.Store.Redis) {
		differs("store", c.store)
	}
	return ps
}
