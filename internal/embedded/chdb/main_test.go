package chdb_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

// parentEnv makes this binary a parent that serves a data directory until it is
// killed: a parent that is to die must not be the test.
const parentEnv = "PLUMBLINE_TEST_CHDB_PARENT"

// rawEnv makes it an engine without handler and list.
const rawEnv = "PLUMBLINE_TEST_CHDB_RAW"

func TestMain(m *testing.M) {
	if os.Getenv(rawEnv) != "" {
		os.Exit(chdb.RawMain(os.Args[1:]))
	}
	if dir := os.Getenv(parentEnv); dir != "" {
		os.Exit(parent(dir))
	}
	os.Exit(chdbtest.Main(leakChecked{m}))
}

func parent(dir string) int {
	exe, err := os.Executable()
	if err == nil {
		var lib string
		if lib, err = chdb.Path(""); err == nil {
			var s *chdb.Server
			s, err = chdb.Start(context.Background(), chdb.Config{
				DataDir: dir, Listen: "127.0.0.1:0", Lib: lib, Argv: []string{exe},
				Env: []string{"PLUMBLINE_TEST_CHDB_CHILD=1", parentEnv + "="}, Logger: zerolog.Nop(),
			})
			if err == nil {
				fmt.Println(s.Addr(), s.Pid())
				select {}
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// leakChecked fails the run where goroutines are left over.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
