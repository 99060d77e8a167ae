package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/cmd/internal/service"
	"postern/internal/config"
)

func sessionCommand(c *cli) *cobra.Command {
	return group("session", "Who is connected, and who was", sessionList(c), sessionShow(c), sessionHistory(c), sessionEnd(c))
}

// canonicalName is the name that sessions go by.
func canonicalName(cfg *config.Service, typed string) (string, error) {
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return "", err
	}
	name, _, err := account(cfg, ring, typed)
	return name, err
}

// octets prints a size for people.
func octets(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
