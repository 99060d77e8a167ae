package main

import "github.com/spf13/cobra"

func deviceCommand(c *cli) *cobra.Command {
	return group("device", "Devices, and what is known of them", deviceTicket(c), deviceRevoke(c))
}
