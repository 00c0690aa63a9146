// Command sample is a small web application whose conduct is chosen by its environment, and the load that counts
// every request that it, or anything on the way to it, did not answer.
package main

import (
	"fmt"
	"os"
)

const usage = `usage:
  sample serve [--port N] [--version NAME]    answer requests; without a command it does this as well
  sample load --load NAME=URL,MODE,CLIENTS,THINK_MS [--load ...]    ask, and count what is not answered
`

func main() {
	command, arguments := "serve", os.Args[1:]
	if len(arguments) > 0 && arguments[0] != "" && arguments[0][0] != '-' {
		command, arguments = arguments[0], arguments[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(arguments)
	case "load":
		err = load(arguments)
	default:
		err = fmt.Errorf("unknown command %q\n%s", command, usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(2)
	}
}
