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

	"T1059": {Name: "Command and Scripting Interpreter", Tactic: "TA0002", TacticName: "Execution"},
	"T1078": {Name: "Valid Accounts"},
	"T1087": {Name: "Account Discovery", Tactic: "TA0007", TacticName: "Discovery"},
	"T1119": {Name: "Automated Collection", Tactic: "TA0009", TacticName: "Collection"},
	"T1213": {Name: "Data from Information Repositories", Tactic: "TA0009", TacticName: "Collection"},
	"T1485": {Name: "Data Destruction", Tactic: "TA0040", TacticName: "Impact"},
	"T1489": {Name: "Service Stop", Tactic: "TA0040", TacticName: "Impact"},
	"T1499": {Name: "Endpoint Denial of Service", Tactic: "TA0040", TacticName: "Impact"},
	"T1526": {Name: "Cloud Service Discovery", Tactic: "TA0007", TacticName: "Discovery"},
	"T1562": {Name: "Impair Defenses"},
	"T1565": {Name: "Data Manipulation", Tactic: "TA0040", TacticName: "Impact"},
	"T1567": {Name: "Exfiltration Over Web Service", Tactic: "TA0010", TacticName: "Exfiltration"},
}

var owaspASI = map[string]string{
	"ASI01": "Agent Goal Hijack",
	"ASI02": "Tool Misuse & Exploitation",
	"ASI03": "Identity & Privilege Abuse",
	"ASI04": "Agentic Supply Chain Vulnerabilities",
	"ASI05": "Unexpected Code Execution (RCE)",
	"ASI06": "Memory & Context Poisoning",
	"ASI07": "Insecure Inter-Agent Communication",
	"ASI08": "Cascading Failures",
	"ASI09": "Human-Agent Trust Exploitation",
	"ASI10": "Rogue Agents",
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
	attackID    = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	atlasID     = regexp.MustCompile(`^AML\.T[0-9]{4}(\.[0-9]{3})?$`)
	techniqueID = regexp.MustCompile(`^(AML\.)?T[0-9]{4}$`)
)

// OwaspASIName returns the name of an id of the OWASP Top 10 for Agentic
// Applications, or the empty string.
func OwaspASIName(id string) string { return owaspASI[id] }

// signalTags say what a deviation may be a sign of. A deviation proves no
// technique: the tags are where an analyst begins to look.
var signalTags = map[string]Tags{
	SignalCallRate:        {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0029", "AML.T0034.002"}, Attack: []string{"T1499"}},
	SignalCallRateLong:    {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0029", "AML.T0034.002"}, Attack: []string{"T1499"}},
	SignalDrift:           {OwaspASI: []string{"ASI10"}, ATLAS: []string{"AML.T0034.002"}},
	SignalSilence:         {OwaspASI: []string{"ASI08"}, Attack: []string{"T1489", "T1562"}},
	SignalBytesSent:       {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0086"}, Attack: []string{"T1567"}},
	SignalBytesReceived:   {OwaspASI: []string{"ASI02", "ASI10"}, ATLAS: []string{"AML.T0085.001"}, Attack: []string{"T1119", "T1213"}},
	SignalNewTool:         {OwaspASI: []string{"ASI02", "ASI04"}, ATLAS: []string{"AML.T0053"}, Attack: []string{"T1078"}},
	SignalNewResource:     {OwaspASI: []string{"ASI02", "ASI03"}, ATLAS: []string{"AML.T0053", "AML.T0085.001"}, Attack: []string{"T1078", "T1213"}},
	SignalNewDestination:  {OwaspASI: []string{"ASI01", "ASI02"}, ATLAS: []string{"AML.T0086"}, Attack: []string{"T1567"}},
	SignalResourceBreadth: {OwaspASI: []string{"ASI02", "ASI03"}, ATLAS: []string{"AML.T0085.001"}, Attack: []string{"T1087", "T1119"}},
	SignalToolSequence:    {OwaspASI: []string{"ASI01", "ASI02"}, ATLAS: []string{"AML.T0053"}},
	SignalFailureRatio:    {OwaspASI: []string{"ASI03"}, ATLAS: []string{"AML.T0084"}, Attack: []string{"T1087", "T1526"}},
	SignalMalformed:       {OwaspASI: []string{"ASI10"}, Attack: []string{"T1562"}},
	SignalLate:            {OwaspASI: []string{"ASI10"}, Attack: []string{"T1562"}},
	SignalNameFlood:       {OwaspASI: []string{"ASI03", "ASI10"}, Attack: []string{"T1499"}},
}

// metricTags are those of a signal "metric:NAME", of which only its owner knows
// what it measures.
var metricTags = Tags{OwaspASI: []string{"ASI10"}}

// accessTags are added where a call that did this completed the alert.
var accessTags = map[string]Tags{
	AccessWrite:   {Attack: []string{"T1565"}},
	AccessDelete:  {ATLAS: []string{"AML.T0101"}, Attack: []string{"T1485"}},
	AccessSend:    {ATLAS: []string{"AML.T0086"}, Attack: []string{"T1567"}},
	AccessExecute: {OwaspASI: []string{"ASI05"}, ATLAS: []string{"AML.T0050"}, Attack: []string{"T1059"}},
}

// NoTags stands, alone in a list for ParseTags, for an empty one.
const NoTags = "none"

// ParseTags sorts ids into the taxonomies that they are of.
func ParseTags(ids []string) (Tags, error) {
	var t Tags
	for _, id := range ids {
		switch {
		case owaspASI[id] != "":
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
	Signals map[string]Tags
	Access  map[string]Tags
}

// For returns the tags of an alert with these signals, completed by a call with
// this access (empty: unknown, or no call at all): sorted, each once, no list nil.
func (g Tagging) For(signals []string, access string) Tags {
	t := Tags{OwaspASI: []string{}, ATLAS: []string{}, Attack: []string{}}
	add := func(more Tags) {
		t.OwaspASI = append(t.OwaspASI, more.OwaspASI...)
		t.ATLAS = append(t.ATLAS, more.ATLAS...)
		t.Attack = append(t.Attack, more.Attack...)
	}
	acted := false
	for _, s := range signals {
		add(g.signal(s))
		acted = acted || (s != SignalSilence && s != SignalMalformed && s != SignalLate && s != SignalNameFlood && !strings.HasPrefix(s, "metric:"))
	}
	if own, ok := g.Access[access]; acted && ok {
		add(own)
	} else if acted {
		add(accessTags[access])
	}
	for _, list := range []*[]string{&t.OwaspASI, &t.ATLAS, &t.Attack} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return t
}

func (g Tagging) signal(name string) Tags {
	if own, ok := g.Signals[name]; ok {
		return own
	}
	if strings.HasPrefix(name, "metric:") {
		return metricTags
	}
	return signalTags[name]
}
