// Package nodeapi owns the Kubernetes API of a lone node: as much of it as kubectl needs to look at the node's pods and to give it
// pods, ConfigMaps and Secrets.
//
// It shows pods (all of them), ConfigMaps and Secrets (of manifests and those given to it), events (the notes), the node, and the
// namespaces in which something is. It takes pods, ConfigMaps and Secrets, and keeps them (package given); the rest of the agent
// treats such pods as those of any other source. What comes from a manifest is changed in the manifest, and an answer says so.
//
// There are no admission plugins, no permissions and no controllers: who has the client's certificate is root on the node. That is
// in one file only its owner can read, a kubeconfig, made at the first start (identity.go).
//
// Nothing is held for clients while there are none: what has changed is found out when somebody asks (world.go). Resource versions
// are one counter that begins at the time of the agent's start, so that those of an earlier life are known to be old.
//
// Logs and streams are passed to the faces of package serve, as an API server passes them to a kubelet.
//
// Goroutines: Run's; beside it those of the requests.
//
// Stops when: its context ends.
package nodeapi
