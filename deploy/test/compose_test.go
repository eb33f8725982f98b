package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/stretchr/testify/require"
)

var version = regexp.MustCompile(`:v?[0-9]+\.[0-9]+[0-9.]*$`)

func TestComposeIsValidPinnedAndOpenToThisMachineAlone(t *testing.T) {
	env, err := os.ReadFile("../compose/env.example")
	require.NoError(t, err)
	options, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"}, cli.WithEnv(strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(string(env), ""))))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"plumbline", "kafka", "clickhouse", "prometheus", "grafana"}, project.ServiceNames())
	for name, s := range project.Services {
		if name == "plumbline" {
			require.Equal(t, "localhost/plumbline:dev", s.Image)
			require.FileExists(t, filepath.Join(s.Build.Context, s.Build.Dockerfile))
			require.True(t, s.ReadOnly)
			require.Equal(t, []string{"ALL"}, s.CapDrop)
			require.NotContains(t, s.HealthCheck.Test, "--config", "a mistake in the file is no fault of the service that runs")
		} else {
			require.Regexp(t, version, s.Image, name)
		}
		require.NotNil(t, s.HealthCheck, name)
		require.NotEmpty(t, s.Ports, name)
		for _, p := range s.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, name)
		}
		for _, v := range s.Volumes {
			if v.Type == "bind" {
				require.True(t, exists(v.Source), "%s mounts what is not there", name)
				require.True(t, v.ReadOnly, name)
			} else {
				require.Contains(t, project.Volumes, v.Source)
			}
		}
		for key, value := range s.Environment {
			if strings.Contains(key, "PASSWORD") {
				require.True(t, strings.HasPrefix(*value, "/run/secrets/"), key)
			}
		}
		for _, secret := range s.Secrets {
			require.Contains(t, project.Secrets, secret.Source)
		}
	}
	for name, s := range project.Secrets {
		require.Equal(t, "secrets", filepath.Base(filepath.Dir(s.File)), name)
	}
	require.NotContains(t, output(t, "git", "ls-files", "../compose"), "_password")
}

func TestTheConfigOfComposeIsValid(t *testing.T) {
	config, err := os.ReadFile("../compose/plumbline.yaml")
	require.NoError(t, err)
	validate(t, config, "/run/secrets")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
