// Package cli owns the commands for a person on the node: get, explain, logs, exec, and the live view of `bosun up`.
// They ask a running agent through its admin socket and show the answer: as aligned, coloured text on a terminal, as
// plain text otherwise.
package cli
