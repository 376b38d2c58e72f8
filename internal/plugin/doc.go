// Package plugin finds the plugins of the node: programs that put a socket into the directory plugins_registry and say there what
// they are. What is to be done with one is its handler's matter: CSI drivers now, device plugins later.
//
// The directory and all beneath it are watched. Each socket is spoken to by itself, so that a plugin that hangs holds up
// nobody else; one that fails is asked again, with growing pauses. When the socket goes, so does the plugin. A socket that is
// replaced is another plugin: the old one is let go first.
//
// Reads: the directory of registration sockets, and what plugins say of themselves.
//
// Writes: what the handlers write; State.
//
// Goroutines: Run's, and one for each socket.
//
// Stops when: its context ends. The handlers keep what they have then: the plugins go on.
package plugin
