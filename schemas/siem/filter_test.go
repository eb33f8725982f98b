package siem_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

func TestAFilterWantsWhatItNames(t *testing.T) {
	alert := schemas.Alert{
		Status: schemas.StatusUpdate, Kind: schemas.KindBehavior, TenantID: "acme", Severity: schemas.SeverityHigh,
		Agent: schemas.AlertAgent{PeerGroup: "finance"},
	}
	for name, test := range map[string]struct {
		filter siem.Filter
		wanted bool
	}{
		"nothing named":           {siem.Filter{}, true},
		"severe enough":           {siem.Filter{MinSeverity: schemas.SeverityHigh}, true},
		"not severe enough":       {siem.Filter{MinSeverity: schemas.SeverityCritical}, false},
		"its status among others": {siem.Filter{Statuses: []string{schemas.StatusOpen, schemas.StatusUpdate}}, true},
		"another status":          {siem.Filter{Statuses: []string{schemas.StatusClose}}, false},
		"another kind":            {siem.Filter{Kinds: []string{"flood"}}, false},
		"its tenant":              {siem.Filter{Tenants: []string{"acme"}}, true},
		"another tenant":          {siem.Filter{Tenants: []string{"acm"}}, false},
		"its peer group":          {siem.Filter{PeerGroups: []string{"finance"}}, true},
		"all but one":             {siem.Filter{MinSeverity: schemas.SeverityLow, Tenants: []string{"acme"}, PeerGroups: []string{"it"}}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.wanted, test.filter.Match(&alert)) })
	}
}

func TestASyslogHeaderIsThatOfTheRFCWhateverTheAlertSays(t *testing.T) {
	header := regexp.MustCompile(`^<(34|35|36|37)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z - plumbline - [!-~]{1,32} - (CEF:0|LEEF:2\.0)\|`)
	for _, form := range []siem.Encoder{siem.CEF, siem.LEEF} {
		require.True(t, siem.TakesSyslog(form.Name()))
		for _, severity := range []string{"low", "medium", "high", "critical", "\n<0>1 x"} {
			for _, signal := range []string{"new_destination", "metric:" + strings.Repeat("x", 300), "metric:a b\n<13>1 - - - - - -"} {
				a := schemas.Alert{
					AlertID: "al-1", Title: "t\n<0>1 forged", Severity: severity, Time: 1_732_345_678_901,
					Signals: []schemas.AlertSignal{{Name: signal}},
				}
				plain, err := form.Append(nil, &a)
				require.NoError(t, err)
				got, err := siem.Syslog(form).Append([]byte("before"), &a)
				require.NoError(t, err)
				got = got[len("before"):]
				require.Regexp(t, header, string(got))
				require.NotContains(t, string(got), "\n")
				require.True(t, strings.HasSuffix(string(got), string(plain)))
			}
		}
	}
}

// TestASyslogParserThatOthersWroteReadsTheHeader has go-syslog as the judge.
func TestASyslogParserThatOthersWroteReadsTheHeader(t *testing.T) {
	parser := rfc5424.NewParser()
	for name, a := range allAlerts(t, hostileAlerts()) {
		for _, form := range []siem.Encoder{siem.CEF, siem.LEEF} {
			plain, err := form.Append(nil, a)
			require.NoError(t, err)
			record, err := siem.Syslog(form).Append(nil, a)
			require.NoError(t, err)
			m, err := parser.Parse(record)
			require.NoError(t, err, "%s: %.200s", name, record)
			got, ok := m.(*rfc5424.SyslogMessage)
			require.True(t, ok)
			require.Equal(t, "plumbline", *got.Appname)
			require.Equal(t, uint8(4), *got.Facility)
			require.Contains(t, []uint8{2, 3, 4, 5}, *got.Severity)
			require.Equal(t, int64(a.Time), got.Timestamp.UnixMilli())
			require.Equal(t, string(plain), *got.Message, name)
		}
	}
}
