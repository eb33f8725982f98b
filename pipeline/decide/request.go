package decide

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// Bounds of a request.
const (
	maxBody        = 256 << 10
	maxEvaluations = 256
)

// evaluation is one question of AuthZEN, its parts as they stand in the request; nil: absent.
type evaluation struct{ subject, action, resource, context []byte }

func (e *evaluation) parts() []member {
	return []member{{"subject", &e.subject}, {"action", &e.action}, {"resource", &e.resource}, {"context", &e.context}}
}

// Values of options.evaluations_semantic.
const (
	executeAll          = "execute_all"
	denyOnFirstDeny     = "deny_on_first_deny"
	permitOnFirstPermit = "permit_on_first_permit"
)

// request is a body of the Authorization API.
type request struct {
	evaluation           // of the whole request, or what evaluations leave out
	evaluations [][]byte // nil: there are none
	semantic    string
}

// readRequest reads a body. Its evaluations are read one by one later: a mistake in one of
// them is that one's.
func readRequest(b []byte) (r request, err error) {
	r.semantic = executeAll
	var list, options []byte
	err = object(b, "the body", append(r.parts(), member{"evaluations", &list}, member{"options", &options})...)
	if err != nil {
		return r, err
	}
	if list != nil {
		if list[0] != '[' {
			return r, errors.New("evaluations: is no list")
		}
		// What is malformed in it was found above.
		_ = jsonscan.List(list, func(s *jsonscan.Scanner) bool {
			start := s.Pos
			if !s.Skip(0) {
				return false
			}
			if len(r.evaluations) <= maxEvaluations {
				r.evaluations = append(r.evaluations, list[start:s.Pos])
			}
			return true
		})
		if len(r.evaluations) > maxEvaluations {
			return r, errors.New("evaluations: over " + strconv.Itoa(maxEvaluations))
		}
	}
	if options != nil {
		var semantic []byte
		if err := object(options, "options", member{"evaluations_semantic", &semantic}); err != nil {
			return r, err
		}
		if semantic != nil {
			if r.semantic, err = text(semantic, "options.evaluations_semantic"); err != nil {
				return r, err
			}
		}
		switch r.semantic {
		case executeAll, denyOnFirstDeny, permitOnFirstPermit:
		default:
			return r, fmt.Errorf("options.evaluations_semantic: must be %s, %s or %s", executeAll, denyOnFirstDeny, permitOnFirstPermit)
		}
	}
	return r, nil
}

// one reads an evaluation of a list, with what the request says for all of them.
func (r *request) one(b []byte) (evaluation, error) {
	var e evaluation
	err := object(b, "the evaluation", e.parts()...)
	for i, part := range e.parts() {
		if *part.to == nil {
			*part.to = *r.parts()[i].to
		}
	}
	return e, err
}

// member is one of an object that somebody asks for.
type member struct {
	name string
	to   *[]byte
}

// object finds members of an object. One that stands twice is refused; null is absent.
func object(b []byte, what string, want ...member) error {
	twice, seen := "", uint(0)
	problem := jsonscan.Members(b, func(name string, value []byte) {
		for i := range want {
			if want[i].name != name {
				continue
			}
			if seen&(1<<i) != 0 {
				twice = name
			}
			if seen |= 1 << i; string(value) != "null" {
				*want[i].to = value
			}
		}
	})
	switch {
	case problem != nil:
		return errors.New(what + ": " + problem.Detail)
	case twice != "":
		return errors.New(what + ": " + strconv.Quote(twice) + " stands twice")
	}
	return nil
}

// text reads a string that is not empty.
func text(b []byte, what string) (string, error) {
	if b == nil {
		return "", errors.New(what + ": is missing")
	}
	var s jsonscan.Scanner
	var mem jsonscan.Arena
	s.Reset(b)
	if s.Peek() != '"' {
		return "", errors.New(what + ": is no text")
	}
	t, ok := s.Token()
	if !ok {
		return "", errors.New(what + ": is no text")
	}
	v, replaced := mem.Text(b, t)
	switch {
	case replaced:
		return "", errors.New(what + ": is not UTF-8")
	case v == "":
		return "", errors.New(what + ": is empty")
	case len(v) > schemas.MaxStringBytes:
		return "", errors.New(what + ": is over " + strconv.Itoa(schemas.MaxStringBytes) + " bytes")
	}
	return v, nil
}

// resource types that name something else than a resource.
const (
	typeAgent = "agent"
	typeTool  = "tool"
)

// builder makes the event of a question.
type builder struct {
	fields    [schemas.FieldCount][]byte // as they stand in JSON
	resources []byte                     // elements of the list
}

// event is the event that a question asks about, as agents would send it.
func (e *evaluation) event() ([]byte, error) {
	var b builder
	if err := b.subject(e.subject); err != nil {
		return nil, err
	}
	// What names a field comes before what stands for one.
	actionName, err := b.named(e.action, "action", "name", true)
	if err != nil {
		return nil, err
	}
	kind, err := b.named(e.resource, "resource", "type", true)
	if err != nil {
		return nil, err
	}
	id, err := b.named(e.resource, "resource", "id", false)
	if err != nil {
		return nil, err
	}
	if e.context != nil {
		if err := b.members(e.context, "context"); err != nil {
			return nil, err
		}
	}
	switch {
	case kind == typeAgent:
		err = b.set(schemas.FieldTargetAgentID, "resource.id", schemas.AppendString(nil, id))
	case kind == typeTool:
		err = b.set(schemas.FieldTool, "resource.id", schemas.AppendString(nil, id))
	case strings.ContainsAny(kind, ":/ "):
		err = errors.New("resource.type: has a colon, a slash or a space in it")
	default:
		b.resource(schemas.AppendString(nil, kind+":"+id))
	}
	if err != nil {
		return nil, err
	}
	if err := b.action(actionName); err != nil {
		return nil, err
	}
	return b.bytes(), nil
}

// subject reads the agent.
func (b *builder) subject(raw []byte) error {
	kind, err := b.named(raw, "subject", "type", true)
	if err != nil {
		return err
	}
	if kind != typeAgent {
		return errors.New("subject.type: must be " + typeAgent)
	}
	id, err := b.named(raw, "subject", "id", false)
	if err != nil {
		return err
	}
	return b.set(schemas.FieldAgentID, "subject.id", schemas.AppendString(nil, id))
}

// named returns a member of a part that must be there, and takes its properties where it is
// told to.
func (b *builder) named(raw []byte, part, name string, properties bool) (string, error) {
	if raw == nil {
		return "", errors.New(part + ": is missing")
	}
	var value, more []byte
	if err := object(raw, part, member{name, &value}, member{"properties", &more}); err != nil {
		return "", err
	}
	if properties && more != nil {
		if err := b.members(more, part+".properties"); err != nil {
			return "", err
		}
	}
	return text(value, part+"."+name)
}

// notAsked are the fields that an act has only when it is done, and what is no field. Its time
// is now.
var notAsked = []schemas.Field{
	schemas.FieldEventID, schemas.FieldTime, schemas.FieldOutcome, schemas.FieldAttributes, schemas.FieldRecordedAt, schemas.FieldFlags, schemas.FieldCount,
}

// members takes the fields of an event that stand in properties or the context. What is none
// of them is somebody else's.
func (b *builder) members(raw []byte, what string) error {
	var wrong error
	problem := jsonscan.Members(raw, func(name string, value []byte) {
		field := schemas.LookupField(name)
		if wrong != nil || string(value) == "null" {
			return
		}
		switch {
		case slices.Contains(notAsked, field):
		case field == schemas.FieldAgentID:
			wrong = errors.New(what + ".agent_id: the agent is subject.id")
		case field == schemas.FieldResources:
			wrong = b.list(value, what)
		default:
			wrong = b.set(field, what, value)
		}
	})
	if problem != nil {
		return errors.New(what + ": is no object")
	}
	return wrong
}

// list takes further resources.
func (b *builder) list(value []byte, what string) error {
	if value[0] != '[' {
		return errors.New(what + ".resources: is no list")
	}
	// It was read as JSON before.
	_ = jsonscan.List(value, func(s *jsonscan.Scanner) bool {
		start := s.Pos
		if !s.Skip(0) {
			return false
		}
		b.resource(value[start:s.Pos])
		return true
	})
	return nil
}

func (b *builder) resource(value []byte) {
	if len(b.resources) > 0 {
		b.resources = append(b.resources, ',')
	}
	b.resources = append(b.resources, value...)
}

// set sets a field. Two places may say the same of it, and nothing else.
func (b *builder) set(field schemas.Field, what string, value []byte) error {
	if said := b.fields[field]; said != nil && !bytes.Equal(said, value) {
		return fmt.Errorf("%s: another %s was given already", what, field)
	}
	b.fields[field] = value
	return nil
}

// action reads the name of the action: what the call does, or else what it is. It is never
// the tool: whoever names a tool "read" must not be permitted what readers are.
func (b *builder) action(name string) error {
	field := schemas.FieldAction
	switch name {
	case schemas.AccessRead, schemas.AccessWrite, schemas.AccessDelete, schemas.AccessSend, schemas.AccessExecute:
		field = schemas.FieldAccess
	}
	return b.set(field, "action.name", schemas.AppendString(nil, name))
}

func (b *builder) bytes() []byte {
	out := []byte{'{'}
	for f := range schemas.FieldCount {
		if b.fields[f] != nil {
			out = append(schemas.AppendString(out, f.String()), ':')
			out = append(append(out, b.fields[f]...), ',')
		}
	}
	if len(b.resources) > 0 {
		out = append(append(append(out, `"resources":[`...), b.resources...), "],"...)
	}
	out[len(out)-1] = '}'
	return out
}

// reader makes events of what agents would send. It is not safe for concurrent use.
type reader struct{ decoder *decode.ActivityDecoder }

// read calls f with the event. What an event can't hold is refused: half a request would be
// another one.
func (r *reader) read(event []byte, now schemas.Millis, f func(*schemas.Activity)) (err error) {
	r.decoder.Decode(&decode.Record{Topic: "decide", Time: now, Value: event}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		switch {
		case refusal != nil:
			err = errors.New(strings.TrimPrefix(refusal.Error(), "decode activity: "))
		case len(ev.Flags.FieldsInvalid) > 0:
			err = errors.New(strings.Join(ev.Flags.FieldsInvalid, ", ") + ": has another form than in an event")
		case ev.Flags.Malformed():
			err = errors.New("a text or list is over the limits of an event, or not UTF-8")
		default:
			f(ev)
		}
	})
	return err
}
