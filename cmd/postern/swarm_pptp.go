package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/internal/swarm"
)

func swarmPPTP(c *cli) *cobra.Command {
	var f swarmFlags
	var o swarm.PPTP
	var servers, locals, codes, ping string
	var traffic bitRate
	cmd := &cobra.Command{
		Use:   "pptp",
		Short: "Dial nodes with many PPTP clients",
		Long: `Dial nodes with many PPTP clients of ours: control connection, GRE, LCP, MS-CHAPv2, MPPE and IPCP,
over real sockets. Each client stays for --hold, pings through its tunnel at --traffic, and hangs up;
with --duration it dials again until that is over. Clients that find a node busy or silent try the next
one, with growing waits; those whose session is cut come back for the rest of their time. A refused login
is not tried again.

It needs a raw socket for GRE: root, or CAP_NET_RAW. Nodes limit connections of one address
(pptp.limits.per_source, per_source_rate): give --local several. A server on this machine needs clients of
other addresses than its own; on loopback they have 64 of their own unless --local says otherwise.`,
		Example: `  postern swarm pptp --server gw1.example.org,gw2.example.org --users users.csv --clients 500 --rate 50 --hold 30s --traffic 10kbit`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.check()
			if err != nil {
				return err
			}
			if o.Users, err = swarm.ReadUsers(f.users); err != nil {
				return err
			}
			if o.Servers, err = swarm.Servers(cmd.Context(), servers); err != nil {
				return err
			}
			if !cmd.Flags().Changed("clients") {
				o.Clients = len(o.Users)
			}
			o.Locals = swarm.DefaultLocals(o.Servers, o.Clients)
			if locals != "" {
				if o.Locals, err = swarm.Locals(locals, o.Clients); err != nil {
					return fmt.Errorf("--local: %w", err)
				}
			}
			if o.Codes, err = swarm.ParseCodes(codes); err != nil {
				return fmt.Errorf("--codes %w", err)
			}
			if ping != "" {
				if o.Ping, err = netip.ParseAddr(ping); err != nil {
					return fmt.Errorf("--ping: %w", err)
				}
			}
			o.Separator, o.Traffic = f.separator, uint64(traffic)
			return c.runSwarm(cmd.Context(), &f, swarm.StepDial, func(ctx, polite context.Context, t *swarm.Tally) (*swarm.Result, error) {
				return o.Run(ctx, polite, t)
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&servers, "server", "", "nodes, `HOST[:PORT]`, comma-separated; a name stands for all its addresses")
	fl.StringVar(&locals, "local", "", "outer `ADDRESSES` of the clients, which this machine must have: address, range or prefix, comma-separated")
	fl.IntVar(&o.Clients, "clients", 0, "so many clients (default: one for each user)")
	fl.Float64Var(&o.Rate, "rate", 10, "dials begun in a second; 0: all at once")
	fl.DurationVar(&o.Hold, "hold", 30*time.Second, "for how long each session stays")
	fl.DurationVar(&o.Duration, "duration", 0, "for how long clients dial again (default: each has one session)")
	fl.IntVar(&o.Tries, "tries", swarm.DefaultTries, "attempts of a dial, where nodes are busy or silent")
	fl.BoolVar(&o.Redial, "redial", true, "clients whose session is cut come back")
	fl.StringVar(&codes, "codes", "always", "`WHEN` users with a token type a code: always, first (then the service should remember them) or never")
	fl.DurationVar(&o.Timeout, "timeout", swarm.DefaultDialTimeout, "of an attempt")
	fl.Var(&traffic, "traffic", "each client's pings through the tunnel, each way, as in 10kbit")
	fl.IntVar(&o.Packet, "packet", swarm.DefaultPacket, "octets of an inner packet")
	fl.StringVar(&ping, "ping", "", "`ADDRESS` to ping (default: the node's end of the tunnel)")
	_ = cmd.MarkFlagRequired("server")
	_ = cmd.RegisterFlagCompletionFunc("codes", cobra.FixedCompletions([]string{"always", "first", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
