// Command mkimage builds the container images of the examples and tests, with no registry and no container runtime:
// from Debian packages, from one C or Go program, and from plain files.
//
//	mkimage -cache DIR -out DIR IMAGES
//
// IMAGES holds one directory per image; its image.json is a [recipe]. Each image becomes OUT/NAME.tar, an OCI image
// layout that `ctr images import` reads. The same input gives the same bytes. An image is built once: the tar lies in
// CACHE under the hash of all that went into it, and OUT holds a link.
package main
