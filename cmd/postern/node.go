package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/nodes"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store"
)

func nodeCommand(c *cli) *cobra.Command {
	return group("node", "How the nodes are, and emptying them", nodeList(c), nodeShow(c), nodeDrain(c), nodeUndrain(c))
}

func (c *cli) withNodes(f func(*nodes.Registry) error) error {
	return c.withStore(func(_ *config.Service, st store.Store) error { return f(nodes.New(st)) })
}

func nodeList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the nodes",
		Long: "List the nodes that were heard within a month: serving, draining (they take no calls, and end those they have), drained,\n" +
			"stopped (they have said so), away (they are silent for 45 s), unknown (they do not report).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withNodes(func(r *nodes.Registry) error {
				all, err := r.List(cmd.Context())
				if err != nil {
					return err
				}
				return c.show(all, func(w *tabwriter.Writer) {
					fmt.Fprintln(w, "NODE\tSTATE\tWISH\tSESSIONS\tSTARTING\tLOAD\tDROPPED\tCLOCK\tVERSION\tHEARD")
					for _, n := range all {
						h := health(n)
						fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.2f\t%d\t%s\t%s\t%v ago\n", visible(n.Name), n.State, wished(n), h.Sessions, h.Starting,
							h.Load, h.Dropped, ahead(n), visible(h.Version), n.Age().Round(time.Second))
					}
				})
			})
		},
	}
}

// health is what a node says, nothing where it has said nothing.
func health(n *nodes.Node) nodes.Health {
	if n.Health == nil {
		return nodes.Health{}
	}
	return *n.Health
}

func wished(n *nodes.Node) string {
	if n.Drain == nil {
		return "serve"
	}
	return "drain"
}

// ahead is how far the node's clock is from the store's.
func ahead(n *nodes.Node) string {
	if n.Clock == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1fs", n.Clock.Offset.Seconds())
}

func nodeShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show NODE",
		Short: "Show all that is known of a node",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withNodes(func(r *nodes.Registry) error {
				n, err := r.Look(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return c.showNode(n)
			})
		},
	}
}

func (c *cli) showNode(n *nodes.Node) error {
	return c.show(n, func(w *tabwriter.Writer) {
		h := health(n)
		row := func(what string, v any) { fmt.Fprintf(w, "%s\t%v\n", what, v) }
		row("node", visible(n.Name))
		row("client", visible(n.Client))
		row("state", n.State)
		row("wish", wished(n))
		if d := n.Drain; d != nil {
			row("asked", fmt.Sprintf("%s, %s", moment(d.Asked), visible(d.By)))
			row("pace", fmt.Sprintf("%g sessions a second, after %v", float64(d.Rate)/60, d.Wait))
		}
		row("heard", fmt.Sprintf("%s, %v ago", moment(n.Heard), n.Age().Round(time.Second)))
		row("began", moment(n.Began))
		row("ended", moment(n.Ended))
		row("version", visible(h.Version))
		row("process", visible(h.Boot))
		row("sessions", h.Sessions)
		row("calls", fmt.Sprintf("%d, %d of them starting", h.Calls, h.Starting))
		row("load", fmt.Sprintf("%.2f, %d CPUs", h.Load, h.CPUs))
		row("packets dropped", fmt.Sprintf("%d, %d of them another node's", h.Dropped, h.Stray))
		row("accounting spooled", h.Spooled)
		row("clock", ahead(n))
	})
}

func nodeDrain(c *cli) *cobra.Command {
	rate := float64(radius.DefaultDrainRate) / 60
	wait := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node take no calls, and end those it has one after the other",
		Long: "Have a node take no calls (their clients hear that it is busy, and dial elsewhere), and after --wait end those it has, the\n" +
			"oldest first, --rate in a second. The same users get the same addresses at another node, and no code is asked for where\n" +
			"the policy remembers it. The node is told within 10 s, also when it starts anew, until `postern node undrain`.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			perMinute := rate * 60
			if !(perMinute >= 1 && perMinute <= radius.MaxDrainRate) {
				return fmt.Errorf("--rate %g: want %.3f to %d sessions a second", rate, 1./60, radius.MaxDrainRate/60)
			}
			if wait < 0 || wait > radius.MaxDrainWait {
				return fmt.Errorf("--wait %v: want 0s to %v", wait, radius.MaxDrainWait)
			}
			return c.withNodes(func(r *nodes.Registry) error {
				d := nodes.Drain{By: operator(""), Rate: int(perMinute + 0.5), Wait: wait.Round(time.Second)}
				if err := r.Drain(cmd.Context(), args[0], d); err != nil {
					return err
				}
				return c.afterNode(cmd, r, args[0])
			})
		},
	}
	cmd.Flags().Float64Var(&rate, "rate", rate, "sessions to end in a second, such as 5 or 0.5")
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long before the first")
	return cmd
}

func nodeUndrain(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "undrain NODE",
		Short: "Have a node take calls again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withNodes(func(r *nodes.Registry) error {
				if err := r.Undrain(cmd.Context(), args[0]); err != nil {
					return err
				}
				return c.afterNode(cmd, r, args[0])
			})
		},
	}
}

func (c *cli) afterNode(cmd *cobra.Command, r *nodes.Registry, name string) error {
	n, err := r.Look(cmd.Context(), name)
	if err != nil {
		return err
	}
	return c.showNode(n)
}
