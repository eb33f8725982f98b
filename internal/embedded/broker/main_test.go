package broker_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
)

// processEnv makes this binary a broker on a data directory until it is killed:
// a process that is to die must not be the test.
const processEnv = "PLUMBLINE_TEST_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(processEnv); dir != "" {
		b, err := broker.Start(broker.Config{DataDir: dir, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(b.Addr())
		select {}
	}
	goleak.VerifyTestMain(m)
}
