// Package ask owns putting one question to a container: running a command in it, getting a URL, opening a connection,
// calling the gRPC health service (behaviours 124-127). Who is asked when, and what answers mean, is decided in package
// health. The other side is not trusted: nothing it does takes longer than the question's timeout or more than some
// kilobytes.
package ask
