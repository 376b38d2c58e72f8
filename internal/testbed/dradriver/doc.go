// Package dradriver is a real driver of dynamic resource allocation for tests, in their own process: it speaks v1 or v1beta1 on real
// sockets, registers as a driver does, writes CDI specifications that give containers an environment variable, and tells how its devices
// fare. It notes every call, and can be told to fail, to hang, to lie, to end, or to vanish without a word.
package dradriver
