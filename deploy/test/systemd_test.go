package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// most is the exposure, of 10.0, that a unit may have.
const most = "15" // tenths

func TestTheUnitsAreValidAndHardened(t *testing.T) {
	for _, unit := range []string{"plumbline.service", "plumbline@.service"} {
		text, err := os.ReadFile(filepath.Join("../systemd", unit))
		require.NoError(t, err)
		if _, err := exec.LookPath("systemd-analyze"); err != nil {
			t.Skip("SKIPPED: systemd-analyze is not on this machine")
		}
		// The program is looked for, and is not installed here.
		installed := strings.ReplaceAll(string(text), "/usr/local/bin/plumbline", binary)
		require.NotEqual(t, string(text), installed)
		file := filepath.Join(t.TempDir(), strings.Replace(unit, "@", "@detect", 1))
		require.NoError(t, os.WriteFile(file, []byte(installed), 0o600))
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
		require.NoError(t, err, string(out))
		for line := range strings.Lines(string(out)) {
			require.NotContains(t, line, "plumbline", "systemd has something to say about it")
		}
		require.Contains(t, installed, "\nExecReload=/bin/kill -HUP $MAINPID\n", "docs/operations.md says how systemctl reload comes to the service")
		output(t, "systemd-analyze", "security", "--offline=true", "--threshold="+most, file)
	}
}

func TestTheTemplateDiffersOnlyInItsRole(t *testing.T) {
	lines := func(name string) (out []string) {
		text, err := os.ReadFile("../systemd/" + name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "Description=") && !strings.HasPrefix(line, "EnvironmentFile=") {
				out = append(out, strings.ReplaceAll(line, " --roles %i", ""))
			}
		}
		return out
	}
	require.Equal(t, lines("plumbline.service"), lines("plumbline@.service"))
}

func TestTheConfigOfTheUnitsIsValid(t *testing.T) {
	config, err := os.ReadFile("../systemd/plumbline.yaml")
	require.NoError(t, err)
	validate(t, config, "${CREDENTIALS_DIRECTORY}", "ADMIN_LISTEN=127.0.0.1:9601")
}
