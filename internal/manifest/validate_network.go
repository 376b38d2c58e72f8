package manifest

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The limits of a pod's DNS configuration; those of glibc are smaller, so a container may use less of it.
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
)

// network checks names, DNS and the hosts file.
func (c *checker) network(s *v1.PodSpec, at *field.Path) {
	if s.Hostname != "" {
		c.must(at.Child("hostname"), s.Hostname, validation.IsDNS1123Label(s.Hostname))
	}
	if s.Subdomain != "" {
		c.must(at.Child("subdomain"), s.Subdomain, validation.IsDNS1123Label(s.Subdomain))
	}
	c.hostnameOverride(s, at)
	for i, a := range s.HostAliases {
		here := at.Child("hostAliases").Index(i)
		c.add(validation.IsValidIPForLegacyField(here.Child("ip"), a.IP, true, nil)...)
		for j, name := range a.Hostnames {
			c.must(here.Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name))
		}
	}
	oneOf(c, at.Child("dnsPolicy"), s.DNSPolicy, v1.DNSClusterFirstWithHostNet, v1.DNSClusterFirst, v1.DNSDefault, v1.DNSNone)
	if s.DNSPolicy == v1.DNSNone && (s.DNSConfig == nil || len(s.DNSConfig.Nameservers) == 0) {
		c.required(at.Child("dnsConfig", "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")
	}
	if s.DNSConfig != nil {
		c.dnsConfig(s.DNSConfig, at.Child("dnsConfig"))
	}
}

func (c *checker) hostnameOverride(s *v1.PodSpec, at *field.Path) {
	if s.HostnameOverride == nil {
		return
	}
	here, name := at.Child("hostnameOverride"), *s.HostnameOverride
	if len(name) > 64 {
		c.add(field.TooLong(here, name, 64))
	}
	c.must(here, name, validation.IsDNS1123Subdomain(name))
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
		c.forbidden(here, "may not be set when `setHostnameAsFQDN` is true")
	}
	if s.HostNetwork {
		c.forbidden(here, "may not be set when `hostNetwork` is true")
	}
}

func (c *checker) dnsConfig(d *v1.PodDNSConfig, at *field.Path) {
	if n := len(d.Nameservers); n > maxNameservers {
		c.add(field.TooMany(at.Child("nameservers"), n, maxNameservers))
	}
	for i, ip := range d.Nameservers {
		c.add(validation.IsValidIPForLegacyField(at.Child("nameservers").Index(i), ip, true, nil)...)
	}
	if n := len(d.Searches); n > maxSearches {
		c.add(field.TooMany(at.Child("searches"), n, maxSearches))
	}
	if n := len(strings.Join(d.Searches, " ")); n > maxSearchChars {
		c.add(field.TooLong(at.Child("searches"), "", maxSearchChars))
	}
	for i, search := range d.Searches {
		if search == "." {
			continue
		}
		name := strings.TrimSuffix(search, ".")
		c.must(at.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(name))
	}
	for i, o := range d.Options {
		if o.Name == "" {
			c.required(at.Child("options").Index(i).Child("name"), "")
		}
	}
}
