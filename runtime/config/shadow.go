package config

// shadowTarget is a pluginTarget that keeps where the key stands.
type shadowTarget struct{ pluginTarget[stageDecl] }

func (t shadowTarget) decode(d *decoder, n *node, dst *stageDecl) {
	dst.ShadowPos = n.from
	t.pluginTarget.decode(d, n, dst)
}

func shadowKey() key[stageDecl] {
	return key[stageDecl]{
		name: "shadow", doc: "a plugin that gets the same events after the answer, without effect: what it answers is compared and counted",
		value: shadowTarget{pluginTarget[stageDecl]{func(s *stageDecl) **Plugin { return &s.Shadow }}},
	}
}

// shadow checks a stage's shadow against the stage.
func (d *decoder) shadow(s *Stage, always bool) {
	where := "stage" + d.named(s) + ": shadow"
	switch to := s.Shadow; {
	case always || s.Async:
		d.addAt(s.ShadowPos, where+": the stage has no answer that one could compare", "it is for stages on the way to the answer: neither async nor under always")
	case to == nil:
	case to == s.Plugin:
		d.addAt(s.ShadowPos, where+" is the stage's own plugin", "name another plugin")
	case to.StateOf != nil && s.Plugin != nil && to.StateOwner() != s.Plugin.StateOwner():
		d.warn(s.ShadowPos, where+": plugin "+show(to.Name)+" sees the state of "+show(s.Plugin.StateOwner())+" here, not that of "+show(to.StateOwner()),
			"a shadow's own writes lie over the state of the stage's plugin")
	case to.StateOf != nil && s.Plugin == nil:
		d.warn(s.ShadowPos, where+": plugin "+show(to.Name)+" sees no state of "+show(to.StateOwner())+" here", "beside a forward it begins with none")
	}
}
