package decode

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// TreeBuilder makes events of JSON that is laid out otherwise than ours: each is
// read into the tree, and its fields are taken from there.
type TreeBuilder struct {
	jsonscan.Tree
	Builder

	rec   *Record
	index int32 // of the next event
	emit  EmitFunc
	event func() // makes an event of the tree
}

// Init says what is asked of an event, and what makes one of the tree: that calls
// Emit or Refuse, or neither where it is to be passed over.
func (t *TreeBuilder) Init(p *jsonscan.Plan, event func()) {
	t.Tree, t.event = jsonscan.NewTree(p, &t.Mem), event
}

// Start begins a record.
func (t *TreeBuilder) Start(rec *Record, emit EmitFunc) { t.rec, t.emit, t.index = rec, emit, 0 }

// One reads the event that b is.
func (t *TreeBuilder) One(b []byte) { t.use(t.Parse(b)) }

// List reads the events of the array that b is.
func (t *TreeBuilder) List(b []byte) { t.End(jsonscan.List(b, t.Read)) }

// Read reads the event at the scanner, an element of a list; it returns false
// where that is malformed.
func (t *TreeBuilder) Read(s *jsonscan.Scanner) bool {
	large, ok := t.Element(s, 1)
	if ok {
		t.use(large)
	}
	return ok
}

// Inner calls read, which reads what stands in the element that is being made an
// event of: its first event has the place of the element. The tree is another then.
func (t *TreeBuilder) Inner(read func()) {
	first := t.index
	if read(); t.index > first {
		t.index--
	}
}

// End refuses what follows on what is malformed; nil is nothing.
func (t *TreeBuilder) End(err *jsonscan.Error) {
	if err != nil {
		t.Refuse(malformed(err))
	}
}

func (t *TreeBuilder) use(err *jsonscan.Error) {
	switch {
	case err != nil:
		t.End(err)
	case t.Kind(0) != '{':
		t.Refuse(&Refusal{Reason: ReasonNotJSON, Detail: "an event is no object"})
	default:
		t.event()
	}
	t.index++
}

// Refuse says why the event is none.
func (t *TreeBuilder) Refuse(refusal *Refusal) { t.emit(t.index, nil, refusal) }

// Emit finishes the event.
func (t *TreeBuilder) Emit() {
	t.ev.Flags.UTF8Replaced = t.ev.Flags.UTF8Replaced || t.Replaced
	t.Builder.Emit(t.rec, t.index, t.emit)
}

// Field sets a field to the value of node i, and marks it as taken. It returns
// false where there is no value.
func (t *TreeBuilder) Field(f schemas.Field, i int32) bool {
	if t.Empty(i) {
		return false
	}
	v := t.Of(i)
	t.Set(f, &v)
	t.Take(i)
	t.From(f, i)
	return true
}

// From notes that a field came from node i.
func (t *TreeBuilder) From(f schemas.Field, i int32) {
	if t.trace != nil && i != jsonscan.None {
		t.trace(f.String(), t.PathTo(i))
	}
}

// Rest makes attributes of what became no field.
func (t *TreeBuilder) Rest() {
	t.more += t.Tree.Rest(t.full(), func(name string, v jsonscan.Value) bool {
		t.attribute(name, &v)
		return t.full()
	})
}

// full reports whether the event holds no more attributes.
func (t *TreeBuilder) full() bool { return len(t.ev.Attributes) == schemas.MaxAttributes }

func malformed(err *jsonscan.Error) *Refusal {
	return &Refusal{Reason: err.Reason, Detail: err.Detail}
}

// ResourceName names a resource. An ARN has the kind of its service; that of an
// object or bucket becomes s3:bucket/key, as everywhere.
func ResourceName(kind, id string) (k, name string) {
	if strings.HasPrefix(id, "arn:") {
		_, rest, _ := strings.Cut(id[len("arn:"):], ":")
		service, rest, _ := strings.Cut(rest, ":")
		_, rest, _ = strings.Cut(rest, ":")
		if _, resource, ok := strings.Cut(rest, ":"); ok && service == "s3" {
			return service, resource
		} else if ok && service != "" {
			return service, id
		}
	}
	return kind, id
}
