// Package stock follows the device plugins of the node: which resources they serve, which devices there are of each and how these
// fare, and how long a resource is waited for whose plugin has gone or has not come yet (behaviours 237 to 240).
//
// Each plugin is followed by itself. One that hangs, or tells nonsense, hurts only its own resource: while it has not told of any
// devices, the plugin before it goes on to serve.
//
// Reads: what plugins tell.
//
// Writes: Supplies; which resources have ever been served here.
//
// Goroutines: Run's, one for each plugin, one for each question to one.
//
// Stops when: its context ends. The plugins go on.
package stock
