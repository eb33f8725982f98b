package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// follower is a reloader of a file, and what it told detect.
type follower struct {
	*reloader
	file   string
	log    bytes.Buffer
	judged []detector.Config
	refuse error
}

func newFollower(t *testing.T, text string) *follower {
	t.Helper()
	f := &follower{file: filepath.Join(t.TempDir(), "plumbline.yaml")}
	f.write(t, text)
	load := func() (*config.Config, error) { return config.Load(f.file, Forms()) }
	cfg, err := load()
	require.NoError(t, err)
	f.reloader = newReloader(cfg, Source{File: f.file, Load: load, Watch: true}, "v1", prometheus.NewRegistry(), zerolog.New(&f.log))
	f.judge = func(c detector.Config) error {
		if f.refuse == nil {
			f.judged = append(f.judged, c)
		}
		return f.refuse
	}
	return f
}

func (f *follower) write(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(f.file, []byte(text), 0o600))
}

// seen is judged, for who runs beside watch.
func (f *follower) seen() []detector.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judged
}

func (f *follower) results() (applied, unchanged, refused, failed float64) {
	of := func(result string) float64 { return testutil.ToFloat64(f.reloader.results.WithLabelValues(result)) }
	return of(ReloadApplied), of(ReloadUnchanged), of(ReloadRefused), testutil.ToFloat64(f.failed)
}

func TestAReloadAppliesWhatItCanAndNamesWhatNeedsARestart(t *testing.T) {
	f := newFollower(t, "detector: {alerts_per_agent_day: 0.02}\n")
	before := f.cfg.Hash()
	f.write(t, "detector: {alerts_per_agent_day: 0.002, runbook: x, checkpoint_every: 1m}\nkafka: {partitions: 4}\nlog: {level: debug}\n")
	out := f.reload()
	require.Equal(t, ReloadApplied, out.Result)
	require.Equal(t, []string{"detector.alerts_per_agent_day", "detector.runbook"}, keys(out.Applied))
	require.Equal(t, []string{"kafka.partitions", "detector.checkpoint_every", "log.level"}, keys(out.Restart))
	require.Equal(t, before, out.Before)
	require.NotEqual(t, before, out.Hash)
	require.Len(t, f.judged, 1)
	require.InDelta(t, 0.002, f.judged[0].AlertsPerAgentDay, 0)
	require.Equal(t, out.Hash, f.judged[0].Hash)
	require.Contains(t, f.log.String(), `"needs_restart":["kafka.partitions","detector.checkpoint_every","log.level"]`)

	// What needs a restart is said as long as it does, and hides nothing.
	out = f.reload()
	require.Equal(t, ReloadUnchanged, out.Result)
	require.Len(t, out.Restart, 3)
	require.Len(t, f.judged, 1)
	f.write(t, "detector: {alerts_per_agent_day: 0.02}\n")
	out = f.reload()
	require.Equal(t, ReloadApplied, out.Result)
	require.Empty(t, out.Restart)
	require.Equal(t, before, out.Hash)
}

func TestAMistakeKeepsTheConfigBefore(t *testing.T) {
	f := newFollower(t, "detector: {alerts_per_agent_day: 0.02}\n")
	before := f.cfg.Hash()
	f.write(t, "detector:\n  alerts_per_agent_dy: 0.002\n")
	out := f.reload()
	require.Equal(t, ReloadRefused, out.Result)
	require.Equal(t, before, out.Hash)
	require.Len(t, out.Mistakes, 1)
	require.Equal(t, 2, out.Mistakes[0].Line)
	require.Contains(t, f.log.String(), f.file+":2:3: detector.alerts_per_agent_dy: unknown key")
	require.Empty(t, f.judged)

	require.NoError(t, os.Remove(f.file))
	require.Contains(t, f.reload().Error, "does not exist")
	f.write(t, "")
	require.Contains(t, f.reload().Error, "is empty")
	require.Empty(t, f.judged)
	f.write(t, "detector: {alerts_per_agent_day: 0.002}\n")
	f.refuse = errors.New("detect: no")
	out = f.reload()
	require.Equal(t, "detect: no", out.Error)
	require.Empty(t, out.Applied)
	_, _, refused, failed := f.results()
	require.InDelta(t, 4, refused, 0)
	require.InDelta(t, 1, failed, 0)

	f.refuse = nil
	require.Equal(t, ReloadApplied, f.reload().Result)
	applied, _, _, failed := f.results()
	require.InDelta(t, 1, applied, 0)
	require.InDelta(t, 0, failed, 0)

	none := newReloader(config.Default(), Source{}, "v1", prometheus.NewRegistry(), zerolog.Nop())
	require.Contains(t, none.reload().Error, "without --config")
}

func TestWhatIsValidIsWhatRuns(t *testing.T) {
	off := "detector:\n  signals:\n"
	for _, info := range signal.All() {
		off += "    " + info.Info().Name + ": {off: true}\n"
	}
	huge := "detector:\n  runbook: " + strings.Repeat("x", 1<<19) + "\n"
	for text, says := range map[string]string{off: "all signals are off", huge: "at most 262144"} {
		_, err := config.Parse("c.yaml", []byte(text), Forms())
		require.ErrorContains(t, err, "c.yaml:2:3: detector: no detector can be made of it: ")
		require.ErrorContains(t, err, says)
	}
}

func TestAStopDoesNotWaitForADiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, "{}\n")
		hangup, answers := make(chan os.Signal, 1), make(chan struct{})
		load := f.source.Load
		f.source.Hangup, f.source.Load = hangup, func() (*config.Config, error) { <-answers; return load() }
		a := &App{logger: zerolog.Nop(), reload: f.reloader}
		a.followConfig(t.Context(), telemetry.NewAdmin(config.Admin{Listen: config.NoListen}, prometheus.NewRegistry(), zerolog.Nop()))
		hangup <- syscall.SIGHUP
		synctest.Wait()
		started := time.Now()
		a.stop(t.Context())
		require.Equal(t, stopTimeout, time.Since(started))
		close(answers)
	})
}

func TestAFileThatChangesIsReadOnceItStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, "")
		hangup := make(chan os.Signal, 1)
		f.source.Hangup = hangup
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.watch(ctx); close(ended) }()
		reloads := func() float64 {
			synctest.Wait()
			a, u, r, _ := f.results()
			return a + u + r
		}
		stamp := time.Now()
		touch := func(text string) {
			f.write(t, text)
			stamp = stamp.Add(time.Second)
			require.NoError(t, os.Chtimes(f.file, stamp, stamp))
		}
		time.Sleep(3*fileLookEvery + time.Millisecond)
		require.Zero(t, reloads(), "nothing has changed")
		for i := range 3 { // it is being written
			touch("detector: {} #" + string(rune('a'+i)))
			time.Sleep(fileLookEvery)
		}
		require.Zero(t, reloads())
		touch("detector: {alerts_per_agent_day: 0.002}\n")
		time.Sleep(2 * fileLookEvery)
		require.InDelta(t, 1, reloads(), 0)
		require.Len(t, f.seen(), 1)
		time.Sleep(5 * fileLookEvery)
		require.InDelta(t, 1, reloads(), 0)

		// As a mounted ConfigMap is replaced: the name leads through a link to a directory,
		// and the link comes to lead to another one.
		dir := filepath.Dir(f.file)
		for _, v := range []string{"1", "2"} {
			require.NoError(t, os.Mkdir(filepath.Join(dir, v), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, v, "plumbline.yaml"), []byte("detector: {alerts_per_agent_day: 0.0"+v+"}\n"), 0o600))
			require.NoError(t, os.Chtimes(filepath.Join(dir, v, "plumbline.yaml"), stamp, stamp))
		}
		require.NoError(t, os.Symlink("1", filepath.Join(dir, "data")))
		require.NoError(t, os.Remove(f.file))
		time.Sleep(2 * fileLookEvery) // it is not there for a while
		require.InDelta(t, 1, reloads(), 0)
		require.NoError(t, os.Symlink(filepath.Join("data", "plumbline.yaml"), f.file))
		time.Sleep(2 * fileLookEvery)
		require.InDelta(t, 2, reloads(), 0)
		require.Len(t, f.seen(), 2)
		require.NoError(t, os.Symlink("2", filepath.Join(dir, "next")))
		require.NoError(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")))
		time.Sleep(2 * fileLookEvery)
		require.InDelta(t, 3, reloads(), 0)
		require.Len(t, f.seen(), 3)
		require.InDelta(t, 0.02, f.seen()[2].AlertsPerAgentDay, 0)

		hangup <- syscall.SIGHUP
		require.InDelta(t, 4, reloads(), 0)
		cancel()
		<-ended
	})
}

// A policy file is part of the config, and so is one that comes to be there.
func TestAReloadFollowsThePolicyFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	const forbid = `@id("mail") forbid (principal, action == Plumbline::Action::"send", resource);`
	put("a.cedar", forbid)
	config := "policy: {files: ['" + filepath.Join(dir, "*.cedar") + "']}\n"
	f := newFollower(t, config)
	before := f.cfg.Hash()

	put("a.cedar", "// no word of what decides\n"+forbid)
	require.Equal(t, ReloadUnchanged, f.reload().Result)
	put("b.cedar", `@id("code") forbid (principal, action == Plumbline::Action::"execute", resource);`)
	out := f.reload()
	require.Equal(t, ReloadApplied, out.Result)
	require.Equal(t, []string{"policy.files"}, keys(out.Applied))
	require.NotEqual(t, before, out.Hash)
	require.Len(t, f.judged, 1)
	require.Equal(t, out.Hash, f.judged[0].Hash)
	set, err := policy.Unpack(f.judged[0].Policies)
	require.NoError(t, err)
	require.Equal(t, set.Hash(), f.judged[0].NewDecider().Hash())
	require.Equal(t, 2, set.Len())

	put("b.cedar", "\nforbid (principal, action, resource) when { principal.ownr == \"\" };")
	out = f.reload()
	require.Equal(t, ReloadRefused, out.Result)
	require.Equal(t, filepath.Join(dir, "b.cedar"), out.Mistakes[0].File)
	require.Equal(t, 2, out.Mistakes[0].Line)
	put("b.cedar", "")
	require.Contains(t, f.reload().Error, "b.cedar is empty")
	require.Len(t, f.judged, 1)

	require.NoError(t, os.Remove(filepath.Join(dir, "b.cedar")))
	f.write(t, config+"detector: {runbook: x}\n")
	out = f.reload()
	require.Equal(t, []string{"detector.runbook", "policy.files"}, keys(out.Applied))
	require.Equal(t, before, out.Hash)
	f.write(t, strings.Replace(config, "}", ", mode: observe, default: deny}", 1))
	out = f.reload()
	require.Equal(t, []string{"detector.runbook", "policy.default", "policy.mode"}, keys(out.Applied))
	require.Empty(t, out.Restart)
}

func TestAChangedPolicyFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "a.cedar"), filepath.Join(dir, "b.cedar")
	put := func(name, text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o600)) }
	put(file, `@id("a") permit (principal, action, resource);`)
	f := newFollower(t, "policy: {files: ['"+file+"']}\n")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.watch(ctx); close(done) }()
		time.Sleep(time.Minute)
		require.Empty(t, f.seen())
		put(file, `@id("a") forbid (principal, action, resource);`)
		time.Sleep(3 * fileLookEvery)
		require.Len(t, f.seen(), 1)
		// A mistake in a file that only the new config names is mended in that file.
		put(other, `@id("b") forbid (principal, action, resource) when { principal.ownr == "" };`)
		f.write(t, "policy: {files: ['"+file+"', '"+other+"']}\n")
		time.Sleep(time.Minute)
		_, _, refused, _ := f.results()
		require.InDelta(t, 1, refused, 0)
		put(other, `@id("b") forbid (principal, action, resource) when { principal.owner == "" };`)
		time.Sleep(3 * fileLookEvery)
		require.Len(t, f.seen(), 2)
		time.Sleep(time.Minute)
		require.Len(t, f.seen(), 2)
		cancel()
		<-done
	})
}
