// Package collect decides what of a node's images and ended containers is garbage, and which of it goes first
// (behaviours 167, 260). Who acts is package cleanup for images, and the worker of each pod for its containers.
package collect
