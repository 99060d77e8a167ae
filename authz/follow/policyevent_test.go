package follow

import "postern/authz/activation"

func (s *site) PolicyChanged(*activation.Event) {}
