//go:build race

package follow

func init() { many = 2000 }
