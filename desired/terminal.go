package desired

// WithTerminal names a container that has a terminal; empty: none has.
func (s *Spec) WithTerminal() string {
	for _, list := range [][]Container{s.InitContainers, s.Containers} {
		for i := range list {
			if list[i].Terminal {
				return list[i].Name
			}
		}
	}
	return ""
}
