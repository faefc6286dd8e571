package sandbox

// Isolation says how far what a plugin keeps in its memory reaches.
type Isolation int

// The levels of isolation.
const (
	// IsolationShared: instances serve all apps, one after another.
	IsolationShared Isolation = iota
	// IsolationApp: an instance serves one app.
	IsolationApp
	// IsolationEvent: before each event an instance is as it was after its
	// start.
	IsolationEvent
	isolationCount
)

// String is the word of pipeline.yaml: shared, app or event.
func (i Isolation) String() string {
	return [isolationCount]string{"shared", "app", "event"}[i]
}
