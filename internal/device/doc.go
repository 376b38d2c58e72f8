// Package device owns the conversation with device plugins: the socket at which they register, their own sockets, and the file in
// which the upstream kubelet remembers who has which device (behaviours 237 to 240). It decides nothing: package stock follows the
// plugins, and package allocate chooses.
//
// Each plugin has a connection of its own and every question a time limit, so a plugin that hangs holds up only the pods that want
// its devices. What it says is checked before it is believed.
package device
