// Package credential owns what the node knows about logging in to image registries: docker config files and pull
// secrets, exec credential providers, the rule which logins fit an image and in which order they are tried, and whose they are.
//
// Files are looked at again on every lookup and read again when they changed, so no restart is needed. Errors name
// file and field and never repeat what a file or a provider said, because that may be a secret.
package credential
