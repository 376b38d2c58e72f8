// Package cluster is the narrow client of the Kubernetes API server: the verbs a node needs, and the following of the objects it uses.
//
// It is built on client-go's REST client and Reflector with a scheme of only the types in scheme.go. The clientset and the informers of
// client-go are not used: they bring every API group into the program, and with it several megabytes that stay resident.
//
// Every call blocks, takes a context, and ends within a time of its own however the server behaves. The Follow functions block until
// their context ends, survive everything the server does, and say what is wrong meanwhile. The package decides nothing: who is asked,
// and what an answer means, is the caller's.
//
// Three lanes share one set of connections, each with a limit of its own, so that none waits for another: pods and everything else,
// heartbeats (node and lease), events.
package cluster
