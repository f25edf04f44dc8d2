package status

// Reload is what became of a configuration that was read again, by the names of the settings that differ.
type Reload struct {
	File    string   `json:"file,omitempty"` // empty: none was read
	Applied []string `json:"applied"`        // in force now
	Etcd    []string `json:"etcd"`           // wait for a restart of etcd
	Daemon  []string `json:"daemon"`         // wait for a restart of etcdsup itself
}
