package config

import "github.com/opmux/opmux/topics"

// Topics is what package topics needs to know, for a command that works with any
// program's configuration.
func (f *File) Topics() (topics.Config, error) { return f.Kafka().config("opmux") }

// Kafka is the file's kafka part.
func (f *File) Kafka() Kafka {
	switch {
	case f.Agent != nil:
		return f.Agent.Kafka
	case f.Worker != nil:
		return f.Worker.Kafka
	default:
		return f.Verifier.Kafka
	}
}

// Log is the file's log part.
func (f *File) Log() Log {
	switch {
	case f.Agent != nil:
		return f.Agent.Log
	case f.Worker != nil:
		return f.Worker.Log
	default:
		return f.Verifier.Log
	}
}

// Sources lists the sources that the file names.
func (f *File) Sources() []string {
	switch {
	case f.Agent != nil:
		return []string{f.Agent.Source}
	case f.Worker != nil:
		return f.Worker.SourceNames()
	default:
		names := make([]string, len(f.Verifier.Sources))
		for i, s := range f.Verifier.Sources {
			names[i] = s.Name
		}
		return names
	}
}

// Targets lists the targets that the file names, each once.
func (f *File) Targets() []string {
	switch {
	case f.Agent != nil:
		return nil
	case f.Worker != nil:
		return []string{f.Worker.Target}
	}
	var names []string
	seen := map[string]bool{}
	for _, s := range f.Verifier.Sources {
		for _, t := range s.Targets {
			if !seen[t] {
				seen[t] = true
				names = append(names, t)
			}
		}
	}
	return names
}
