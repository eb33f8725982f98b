package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// maxBytes bounds byte counts: what agents claim can't make a sum overflow, which would
// leave a policy out.
const maxBytes = 1 << 53

// facts are what policies see of an event and one of its resources.
type facts struct {
	tenant, agent, group string
	target               string // the other agent; the resource is it where isAgent
	isAgent              bool
	action               action
	text                 [fieldCount]string
	number               [fieldCount]int64
	registered, leaves   bool
	time                 schemas.Millis
	timed                bool // hour and weekday are of time
	ip                   address
	ipRead               bool
	by                   *principal
	labels               []schemas.Attribute
}

// actionOf is the action of an event. What it says it is comes before what it does.
func actionOf(ev *schemas.Activity) action {
	for _, a := range [...]action{actMessage, actDelegate, actModelCall, actAuth} {
		if len(ev.Action) == len(actionNames[a]) && strings.EqualFold(ev.Action, actionNames[a]) {
			return a
		}
	}
	switch ev.Access {
	case schemas.AccessRead:
		return actRead
	case schemas.AccessWrite:
		return actWrite
	case schemas.AccessDelete:
		return actDelete
	case schemas.AccessSend:
		return actSend
	case schemas.AccessExecute:
		return actExecute
	}
	return actOther
}

// event takes what all resources of an event share.
func (f *facts) event(ev *schemas.Activity, p *principal, risk string) {
	f.by, f.time, f.timed, f.ip, f.ipRead = p, ev.Time, false, address{}, false
	f.tenant, f.agent, f.group = ev.TenantID, ev.AgentID, ev.PeerGroup
	if p.group != "" {
		f.group = p.group
	}
	if f.group == "" {
		f.group = schemas.DefaultPeerGroup
	}
	f.registered, f.labels = p.registered, p.labels
	copy(f.text[ofOwner:], p.text[ofOwner:ofRisk])
	if f.text[ofRisk] = risk; risk == "" {
		f.text[ofRisk] = NoRisk
	}
	f.action, f.target = actionOf(ev), ev.TargetAgentID
	f.text[ofTool], f.text[ofModel], f.text[ofOnBehalfOf] = ev.Tool, ev.Model, ev.OnBehalfOf
	f.text[ofCredentialType], f.text[ofVersion], f.text[ofSourceIP] = ev.CredentialType, ev.AgentVersion, ev.SourceIP
	if f.text[ofOutcome] = ev.Outcome; ev.Outcome == "" {
		f.text[ofOutcome] = schemas.OutcomeSuccess
	}
	f.number[ofBytesSent] = int64(min(ev.BytesSent, maxBytes))
	f.number[ofBytesReceived] = int64(min(ev.BytesReceived, maxBytes))
}

// clock sets hour and weekday, which take a third of all the rest.
func (f *facts) clock(zone *time.Location) {
	if !f.timed {
		t := f.time.Time().In(zone)
		f.number[ofHour], f.text[ofWeekday], f.timed = int64(t.Hour()), Weekdays[t.Weekday()], true
	}
}

// address is where an agent calls from, as far as it can be read.
type address struct {
	at   types.IPAddr
	good bool
}

// maxAddress is how long the text of an address is that is remembered.
const maxAddress = 64

func (f *facts) address() (types.IPAddr, bool) {
	s := f.text[ofSourceIP]
	switch {
	case f.ipRead || s == "":
		return f.ip.at, f.ip.good
	case f.by.from == s: // most agents stay where they are
		f.ip, f.ipRead = f.by.fromIP, true
		return f.ip.at, f.ip.good
	}
	at, err := types.ParseIPAddr(s)
	f.ip, f.ipRead = address{at, err == nil}, true
	if f.by.registered && len(s) <= maxAddress {
		f.by.from, f.by.fromIP = strings.Clone(s), f.ip
	}
	return f.ip.at, f.ip.good
}

// none is the resource of an event that has none.
func (f *facts) none(ev *schemas.Activity) {
	f.isAgent, f.leaves = false, ev.Access == schemas.AccessSend
	f.text[ofUID], f.text[ofKind], f.text[ofID], f.text[ofSite] = schemas.NoResource, "", "", ""
}

// other is the other agent as a resource.
func (f *facts) other() {
	f.isAgent, f.leaves = true, true
	f.text[ofUID], f.text[ofKind], f.text[ofID], f.text[ofSite] = "", "agent", f.target, ""
}

// resource takes a resource without its site.
func (f *facts) resource(ev *schemas.Activity, kind, id string) {
	f.isAgent, f.leaves = false, ev.Access == schemas.AccessSend || baseline.Outside(kind)
	f.text[ofUID], f.text[ofKind], f.text[ofID] = "", kind, id
}

// uid is the id of the resource's entity.
func (f *facts) uid() string {
	switch {
	case f.isAgent:
		return f.tenant + "/" + f.target
	case f.text[ofUID] != "":
		return f.text[ofUID]
	}
	return f.text[ofKind] + ":" + f.text[ofID]
}

// seen writes fields down as an alert shows them.
func (f *facts) seen(reads fields, p *principal) (out []schemas.Attribute) {
	f.clock(p.zone)
	put := func(key, value string) { out = append(out, schemas.Attribute{Key: key, Value: strings.Clone(value)}) }
	for reads != 0 {
		of := reads.next()
		variable := "context."
		if of <= ofRisk {
			variable = "principal."
		} else if of <= ofLeaves {
			variable = "resource."
		}
		switch name := variable + fieldNames[of]; {
		case of == ofWho:
			put("principal", f.tenant+"/"+f.agent)
			put("principal in", f.tenant+"/"+f.group)
		case of == ofUID:
			put("resource", f.uid())
		case of == ofLabels:
			for _, l := range f.labels {
				put(name+"."+l.Key, l.Value)
			}
		case of == ofRegistered:
			put(name, strconv.FormatBool(f.registered))
		case of == ofLeaves:
			put(name, strconv.FormatBool(f.leaves))
		case of.number():
			put(name, strconv.FormatInt(f.number[of], 10))
		default:
			put(name, f.text[of])
		}
	}
	return out
}

// uidLen is how long appendUID's is.
func (f *facts) uidLen() int {
	switch {
	case f.isAgent:
		return len(f.tenant) + len(f.target) + 2
	case f.text[ofUID] != "":
		return len(f.text[ofUID])
	}
	return len(f.text[ofKind]) + len(f.text[ofID]) + 1
}

// Unreadable is the site of what can't be read as an address; "" is that of what lies nowhere
// but where it is, a file say.
const Unreadable = "?"

// sites are the places of one resource, each once.
type sites struct {
	list []string
	add  func(site string, read bool)
}

func newSites() *sites {
	s := &sites{}
	s.add = func(site string, read bool) {
		if !read {
			// Nobody knows where it is; what could be a host in it counts beside.
			for _, host := range baseline.Hosts(site) {
				s.put(host)
			}
			site = Unreadable
		}
		s.put(site)
	}
	return s
}

func (s *sites) put(site string) {
	if !slices.Contains(s.list, site) {
		s.list = append(s.list, site)
	}
}

// of finds the sites of a resource: at least one.
func (s *sites) of(kind, id string) []string {
	s.list = s.list[:0]
	if baseline.EachSite(kind, id, s.add); len(s.list) == 0 {
		s.put("")
	}
	return s.list
}

// principal is what a registration says of who acts.
type principal struct {
	text       [ofRisk]string
	group      string
	registered bool
	labels     []schemas.Attribute
	zone       *time.Location
	grants     *grants

	known                  bool // what follows was looked up
	tenant, agent, inGroup string
	who                    [3]uint32
	from                   string // an address, and how it was read
	fromIP                 address
}

var unregistered = &principal{zone: time.UTC}

func newPrincipal(reg *schemas.Registration) *principal {
	p := &principal{group: reg.PeerGroup, registered: true, labels: reg.Labels, zone: time.UTC}
	p.text[ofOwner], p.text[ofCriticality], p.text[ofEnvironment] = reg.Owner, reg.Criticality, reg.Environment
	p.text[ofVendor] = reg.Vendor
	if p.text[ofStatus] = reg.Status; reg.Status == "" {
		p.text[ofStatus] = schemas.StatusActive
	}
	if zone, err := time.LoadLocation(reg.TimeZone); err == nil && reg.TimeZone != "Local" {
		p.zone = zone
	}
	for _, l := range reg.Labels {
		p.text[ofLabels] += string(appendText(appendText(nil, l.Key), l.Value))
	}
	return p
}
