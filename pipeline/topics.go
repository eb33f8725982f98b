package pipeline

// The topics that Plumbline owns. Only route writes to TopicActivity: with an
// ACL that says so, its headers can be trusted.
const (
	TopicActivity   = "plumbline.activity"
	TopicAlerts     = "plumbline.alerts"
	TopicWindows    = "plumbline.windows"
	TopicBaselines  = "plumbline.baselines" // detector state: see package statelog
	TopicDeadLetter = "plumbline.deadletter"
)

// The consumer groups of the three roles.
const (
	GroupRoute   = "plumbline-route"
	GroupDetect  = "plumbline-detect"
	GroupArchive = "plumbline-archive"
)

// Headers of the records that Plumbline writes. HeaderSource on an alert names
// the partition and offset in TopicActivity of the record that completed it; the
// origin of an event (schemas.OriginHeader) is another thing.
const (
	HeaderAlertID = "alert_id"
	HeaderSource  = "plumbline-source"

	HeaderReason          = "plumbline-reason"
	HeaderField           = "plumbline-field"
	HeaderDetail          = "plumbline-detail"
	HeaderRefused         = "plumbline-refused" // how many events of the record were refused, where it is not one
	HeaderSourceTopic     = "plumbline-source-topic"
	HeaderSourcePartition = "plumbline-source-partition"
	HeaderSourceOffset    = "plumbline-source-offset"
	HeaderCut             = "plumbline-cut" // the true size, where the bytes had to be cut
)
