// Command postern is the operator's tool: accounts, second factors, lockouts,
// sessions and policies of a service, and a laboratory to see it all work in.
//
// Commands that need the shared state open the service's store. With the embedded
// one, which is for one process, that is only possible while the service is stopped.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &cli{in: os.Stdin, out: os.Stdout, errs: os.Stderr}
	root := newRoot(c)
	root.SetArgs(doubleDashes(os.Args[1:]))
	if err := root.ExecuteContext(ctx); err != nil {
		var status exitStatus
		if errors.As(err, &status) {
			os.Exit(int(status))
		}
		fmt.Fprintf(os.Stderr, "postern: %v\n", err)
		os.Exit(1)
	}
}
