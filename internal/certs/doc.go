// Package certs owns the certificates of the node: the one with which it speaks to the API server, and the one it shows
// to those who call it at port 10250. It asks for them, keeps them, renews them, and follows files that others change.
//
// # Files
//
// A certificate that the API gave lies with its key in one file of the certificate directory, kubelet-client-<time>.pem
// or kubelet-server-<time>.pem, mode 0600; kubelet-client-current.pem and kubelet-server-current.pem are links to the
// newest. The one before stays for who wants to go back by hand; older ones are removed. The key of a request that
// is under way lies in kubelet-client.key.tmp or kubelet-server.key.tmp until everything that follows from the request is
// on disk: after a crash the same key makes the same request under the same name, so nobody has to approve twice.
// Every file is written beside its place, synced and renamed.
//
// # Requests
//
// A request waits for its approval as long as it takes, by watch; there is one at a time, not one every quarter of an
// hour as upstream has it. When it is denied, or failed, another one with a new key follows after a pause.
// A certificate is renewed at 70 to 90 % of its life; until that works, the old one is used, also after its end: the
// other side decides whether it still takes it, by its own clock.
//
// # Clocks
//
// When the clock of this machine and that of the signer differ, a certificate may seem not yet valid, or expired at
// birth. The first is used, the second refused; State says in both cases whose clocks to look at. A clock that is set is
// noticed at the next slow look.
//
// # Reads
//
// The kubeconfig files and the certificate files they name, the serving pair of the configuration, the certificate
// directory; certificate signing requests; for the serving certificate, the addresses of the node.
//
// # Writes
//
// The certificate directory, the kubeconfig after a bootstrap, certificate signing requests, a cell of State for each
// certificate.
//
// # Goroutines
//
// Each of Bootstrap, Client.Run and Serving.Run has its loop, two for hearing of changed files, and two while a
// request is under way.
//
// # Stops when
//
// The context ends; Bootstrap also when the kubeconfig can be used. All goroutines have ended then.
package certs
