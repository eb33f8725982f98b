package pipeline

// Records returns the records of all agents, by tenant and agent.
func (s *State) Records() map[string][]byte { return s.fold.agents }
