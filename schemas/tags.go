package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Versions of the taxonomies that Tags refer to.
const (
	OwaspASIVersion = "2026"
	ATLASVersion    = "5.6.0"
	AttackVersion   = "18"
)

// Technique is one entry of ATT&CK or ATLAS.
type Technique struct {
	ID, Name string
	// Parent is the id of the technique that this one is a part of, if any.
	Parent string
	// Tactic and TacticName say what it serves, where the taxonomy gives one and
	// only one.
	Tactic, TacticName string
}

// Names of ATLAS 5.6.0 and of ATT&CK 18, as their publishers write them.
var techniques = map[string]Technique{
	"AML.T0012":     {Name: "Valid Accounts"},
	"AML.T0029":     {Name: "Denial of AI Service", Tactic: "AML.TA0011", TacticName: "Impact"},
	"AML.T0034":     {Name: "Cost Harvesting", Tactic: "AML.TA0011", TacticName: "Impact"},
	"AML.T0034.002": {Name: "Agentic Resource Consumption", Parent: "AML.T0034", Tactic: "AML.TA0011", TacticName: "Impact"},
	"AML.T0050":     {Name: "Command and Scripting Interpreter", Tactic: "AML.TA0005", TacticName: "Execution"},
	"AML.T0053":     {Name: "AI Agent Tool Invocation"},
	"AML.T0084":     {Name: "Discover AI Agent Configuration", Tactic: "AML.TA0008", TacticName: "Discovery"},
	"AML.T0085":     {Name: "Data from AI Services", Tactic: "AML.TA0009", TacticName: "Collection"},
	"AML.T0085.001": {Name: "AI Agent Tools", Parent: "AML.T0085", Tactic: "AML.TA0009", TacticName: "Collection"},
	"AML.T0086":     {Name: "Exfiltration via AI Agent Tool Invocation", Tactic: "AML.TA0010", TacticName: "Exfiltration"},
	"AML.T0101":     {Name: "Data Destruction via AI Agent Tool Invocation", Tactic: "AML.TA0011", TacticName: "Impact"},

	"T1048": {Name: "Exfiltration Over Alternative Protocol", Tactic: "TA0010", TacticName: "Exfiltration"},
	"T1059": {Name: "Command and Scripting Interpreter", Tactic: "TA0002", TacticName: "Execution"},
	"T1078": {Name: "Valid Accounts"},
	"T1087": {Name: "Account Discovery", Tactic: "TA0007", TacticName: "Discovery"},
	"T1119": {Name: "Automated Collection", Tactic: "TA0009", TacticName: "Collection"},
	"T1213": {Name: "Data from Information Repositories", Tactic: "TA0009", TacticName: "Collection"},
	"T1485": {Name: "Data Destruction", Tactic: "TA0040", TacticName: "Impact"},
	"T1489": {Name: "Service Stop", Tactic: "TA0040", TacticName: "Impact"},
	"T1499": {Name: "Endpoint Denial of Service", Tactic: "TA0040", TacticName: "Impact"},
	"T1526": {Name: "Cloud Service Discovery", Tactic: "TA0007", TacticName: "Discovery"},
	"T1530": {Name: "Data from Cloud Storage", Tactic: "TA0009", TacticName: "Collection"},
	"T1550": {Name: "Use Alternate Authentication Material"},
	"T1562": {Name: "Impair Defenses"},
	"T1565": {Name: "Data Manipulation", Tactic: "TA0040", TacticName: "Impact"},
	"T1567": {Name: "Exfiltration Over Web Service", Tactic: "TA0010", TacticName: "Exfiltration"},
}

// LookupTechnique returns the technique of ATT&CK or ATLAS with that id. Of one
// that is not known here it returns what the id says: itself and its parent.
func LookupTechnique(id string) (Technique, bool) {
	t, ok := techniques[id]
	t.ID = id
	if dot := strings.LastIndexByte(id, '.'); !ok && dot > 0 && techniqueID.MatchString(id[:dot]) {
		t.Parent = id[:dot]
	}
	return t, ok
}

// Ids as their publishers write them, sub-techniques included.
var (
	owaspASI    = regexp.MustCompile(`^ASI(0[1-9]|10)$`)
	attackID    = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	atlasID     = regexp.MustCompile(`^AML\.T[0-9]{4}(\.[0-9]{3})?$`)
	techniqueID = regexp.MustCompile(`^(AML\.)?T[0-9]{4}$`)
)

// signalTags say what a deviation may be a sign of. A deviation proves no technique: the
// tags are where an analyst begins to look. A technique of ATT&CK is named only where what was
// seen is what its definition describes, which mostly takes more than the signal (Act).
var signalTags = map[string]Tags{
	SignalCallRate:        {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0034.002"}},
	SignalCallRateLong:    {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0034.002"}},
	SignalDrift:           {OwaspASI: []string{"ASI10"}, ATLAS: []string{"AML.T0034.002"}},
	SignalSilence:         {OwaspASI: []string{"ASI08"}},
	SignalBytesSent:       {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0086"}},
	SignalBytesReceived:   {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0085.001"}},
	SignalNewTool:         {OwaspASI: []string{"ASI02", "ASI04"}, ATLAS: []string{"AML.T0053"}},
	SignalNewResource:     {OwaspASI: []string{"ASI02", "ASI03"}, ATLAS: []string{"AML.T0085.001"}},
	SignalNewDestination:  {OwaspASI: []string{"ASI01", "ASI02"}},
	SignalResourceBreadth: {OwaspASI: []string{"ASI02", "ASI03"}, ATLAS: []string{"AML.T0085.001"}},
	SignalToolSequence:    {OwaspASI: []string{"ASI01", "ASI02"}, ATLAS: []string{"AML.T0053"}},
	SignalFailureRatio:    {OwaspASI: []string{"ASI03", "ASI08"}},
	SignalMalformed:       {OwaspASI: []string{"ASI10"}},
	SignalLate:            {OwaspASI: []string{"ASI10"}},
	SignalForeignAddress:  {OwaspASI: []string{"ASI03"}, ATLAS: []string{"AML.T0012"}, Attack: []string{"T1078"}},
	SignalNameFlood:       {OwaspASI: []string{"ASI03", "ASI10"}, Attack: []string{"T1499"}},

	// An account that nobody should use any more, or somebody else's, is what the techniques of
	// valid accounts describe. A credential that is old, or long-lived, is an exposure and no
	// act of anybody.
	CheckUnregisteredAgent:   {OwaspASI: []string{"ASI03", "ASI10"}},
	CheckDecommissionedAgent: {OwaspASI: []string{"ASI03", "ASI10"}, ATLAS: []string{"AML.T0012"}, Attack: []string{"T1078"}},
	CheckSuspendedAgent:      {OwaspASI: []string{"ASI03", "ASI10"}, ATLAS: []string{"AML.T0012"}, Attack: []string{"T1078"}},
	CheckNoOwner:             {OwaspASI: []string{"ASI03"}},
	CheckUnapprovedVersion:   {OwaspASI: []string{"ASI04", "ASI10"}},
	CheckUnknownCredential:   {OwaspASI: []string{"ASI03"}, ATLAS: []string{"AML.T0012"}, Attack: []string{"T1078", "T1550"}},
	CheckStaticKey:           {OwaspASI: []string{"ASI03"}},
	CheckExpiredCredential:   {OwaspASI: []string{"ASI03"}},
	CheckCredentialOverdue:   {OwaspASI: []string{"ASI03"}},
}

// metricTags are those of a signal "metric:NAME", of which only its owner knows
// what it measures.
var metricTags = Tags{OwaspASI: []string{"ASI10"}}

// accessTags are added where a call that did this completed the alert.
var accessTags = map[string]Tags{
	AccessDelete:  {ATLAS: []string{"AML.T0101"}, Attack: []string{"T1485"}},
	AccessExecute: {OwaspASI: []string{"ASI05"}},
}

// exfiltration is the technique by which data leave to a place of this kind: over the web,
// or over a protocol that is not the web's. Of an address that is neither, and of places
// inside, ATT&CK says nothing.
var exfiltration = map[string]string{
	"url": "T1567", "http": "T1567", "https": "T1567", "domain": "T1567", "host": "T1567",
	"email": "T1048",
}

// outside are the kinds of resources that are not the house's own.
func outside(kind string) bool {
	switch kind {
	case "url", "http", "https", "domain", "host", "ip", "email", "phone", "iban", "":
		return true
	}
	return false
}

// collection is the technique by which data are read from a place inside.
func collection(kind string) string {
	switch kind {
	case "s3", "gs", "gcs", "azure", "blob", "bucket":
		return "T1530"
	}
	return "T1213"
}

// Act is what tags are told by, of the call that completed an alert, beside its signals.
type Act struct {
	Access string
	Kind   string // of its target: the part of a resource before the colon
}

// of returns the tags of a signal that this call completed.
func (act Act) of(s *AlertSignal) (t Tags) {
	reads := act.Access == AccessRead
	switch s.Name {
	case SignalNewDestination, SignalNewTool:
		switch s.LedBy {
		case LedByDestination:
			if !reads { // who reads a page sends nothing there to speak of
				t.ATLAS = append(t.ATLAS, "AML.T0086")
				t.Attack = some(exfiltration[act.Kind])
			}
		case LedByAgent:
			t.OwaspASI = append(t.OwaspASI, "ASI07")
		case LedByTool, LedByToolUse:
			t.OwaspASI = append(t.OwaspASI, "ASI04")
			t.ATLAS = append(t.ATLAS, "AML.T0053")
		case LedByStore:
			t.Attack = some("T1565")
		}
	case SignalNewResource:
		switch {
		case s.LedBy == LedByStore:
			t.Attack = some("T1565")
		case !outside(act.Kind):
			t.Attack = some(collection(act.Kind))
		}
	case SignalBytesSent:
		if act.Access != AccessDelete {
			t.Attack = some(exfiltration[act.Kind])
		}
	case SignalBytesReceived, SignalResourceBreadth:
		if (reads || act.Access == "") && !outside(act.Kind) {
			t.Attack = append(some(collection(act.Kind)), "T1119")
		}
	}
	return t
}

func some(id string) []string {
	if id == "" {
		return nil
	}
	return []string{id}
}

// NoTags stands, alone in a list for ParseTags, for an empty one.
const NoTags = "none"

// ParseTags sorts ids into the taxonomies that they are of.
func ParseTags(ids []string) (Tags, error) {
	var t Tags
	for _, id := range ids {
		switch {
		case owaspASI.MatchString(id):
			t.OwaspASI = append(t.OwaspASI, id)
		case atlasID.MatchString(id):
			t.ATLAS = append(t.ATLAS, id)
		case attackID.MatchString(id):
			t.Attack = append(t.Attack, id)
		case id != NoTags || len(ids) > 1:
			return Tags{}, fmt.Errorf("%q is no id of OWASP Agentic (ASI02), ATLAS (AML.T0086) or ATT&CK (T1567, T1567.002)", id)
		}
	}
	return t, nil
}

// Tagging says which tags an alert gets. The zero value is the project's own;
// Signals and Access take the place of what it says of single signals and kinds of
// access.
type Tagging struct {
	Signals map[string]Tags `json:"signals,omitempty"`
	Access  map[string]Tags `json:"access,omitempty"`
}

// For returns the tags of an alert with these signals, completed by this call (nil: by no
// call): sorted, each once, no list nil.
func (g Tagging) For(signals []AlertSignal, act *Act) Tags {
	t := Tags{OwaspASI: []string{}, ATLAS: []string{}, Attack: []string{}}
	add := func(more Tags) {
		t.OwaspASI = append(t.OwaspASI, more.OwaspASI...)
		t.ATLAS = append(t.ATLAS, more.ATLAS...)
		t.Attack = append(t.Attack, more.Attack...)
	}
	acted, called := false, false // that it acted says something; likewise what it called
	for i := range signals {
		s := &signals[i]
		if own, ok := g.Signals[s.Name]; ok {
			add(own)
		} else {
			add(tagsOf(s.Name))
			if act != nil {
				add(act.of(s))
			}
		}
		switch s.Name {
		case SignalMalformed, SignalLate, SignalSilence, SignalNameFlood, SignalForeignAddress, SignalUnknownCredential:
		case SignalCallRate, SignalCallRateLong, SignalDrift, SignalFailureRatio:
			acted = true
		default:
			called = called || !strings.HasPrefix(s.Name, SignalMetric)
		}
	}
	if act != nil && (called || acted && act.Access == AccessDelete) {
		if own, ok := g.Access[act.Access]; ok {
			add(own)
		} else {
			add(accessTags[act.Access])
		}
	}
	for _, list := range []*[]string{&t.OwaspASI, &t.ATLAS, &t.Attack} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return t
}

func tagsOf(signal string) Tags {
	if strings.HasPrefix(signal, SignalMetric) {
		return metricTags
	}
	return signalTags[signal]
}
