// Package objects owns the node's copies of the objects of the API that its pods use: ConfigMaps, Secrets, tokens of
// service accounts, services, runtime classes, ClusterTrustBundles and ResourceClaims. Each is watched by itself, once, while at least
// one pod needs it and a little longer: the identity of a node may do nothing more (behaviours 321, 322). Immutable objects are
// watched until they were seen.
//
// Asking begins when a pod is wanted, so that what its start needs is there by then. Readers wait for the first answer; after it
// they get what is known, at once, also while the API server is away. A pod's revision grows when something changes that it
// uses; a burst of changes counts once. What the node may not see yet (the API server lets a node read only what its pods
// refer to, and learns of that a moment later) is asked for again by the Cluster; meanwhile readers wait, and Waits tells
// what for.
//
// The change detection strategy Cache is done by watching, which is never later and costs less; with Get every use
// asks the API server, and pods look again each minute.
//
// For a pod that wants certificates of its own, keys are made here and PodCertificateRequests with them; the keys are in memory and in the
// pod's volume, nowhere else.
//
// No text made here shows what a Secret, a token or a key holds.
//
// Reads: the wanted pods, and the API server.
//
// Writes: the revisions; requests for tokens and certificates; events of pods about certificates; what Config.Keep keeps.
//
// Goroutines: Run's, one for each object that is followed, and one for each token or certificate while it is
// asked for.
//
// Stops when: its context ends. Readers then get errors.
package objects
