package chdb

// StatusNames are the errors with a status of their own, for the test that asks
// the engine for their names.
func StatusNames() map[int]string {
	names := map[int]string{}
	for code, s := range statusOf {
		names[code] = s.name
	}
	return names
}
