package serve

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"

	"github.com/bosun-project/bosun/internal/config"
)

// Gate lets requests through to a handler, or answers them itself.
type Gate interface {
	Wrap(next http.Handler) http.Handler
}

// NewSecure builds the authenticated server (10250) on host:port. tlsConfig is asked at each handshake, so that what it
// says may change without a restart.
func NewSecure(address string, f *Faces, tlsConfig func() *tls.Config, gate Gate, log *slog.Logger) *Server {
	s := newServer("secure server", address, f.handler(Full, gate.Wrap), log, openPort)
	s.tls = &tls.Config{
		MinVersion: tls.VersionTLS12, // of handshakes that tlsConfig refuses; what it says counts
		NextProtos: nextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := tlsConfig().Clone()
			now.NextProtos = nextProtos
			return now, nil
		},
	}
	return s
}

// nextProtos are what the server speaks. Streams to containers need HTTP/1.1, and their clients ask for it.
var nextProtos = []string{"h2", "http/1.1"}

// TLSConfig is what the configuration says of the TLS of the secure server (behaviour 328): versions from tlsMinVersion
// (1.2 without it), tlsCipherSuites and tlsCurvePreferences. certificate is asked at each handshake. A client is asked
// for a certificate, and need not have one, if clientCAs has something to hold it against; nil: never.
func TLSConfig(k *config.KubeletConfiguration, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), clientCAs func() *x509.CertPool) func() *tls.Config {
	fixed := tls.Config{MinVersion: tlsVersion(k.TLSMinVersion), GetCertificate: certificate}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, name := range k.TLSCipherSuites {
			if suite.Name == name {
				fixed.CipherSuites = append(fixed.CipherSuites, suite.ID)
			}
		}
	}
	for _, id := range k.TLSCurvePreferences {
		fixed.CurvePreferences = append(fixed.CurvePreferences, tls.CurveID(id))
	}
	return func() *tls.Config {
		now := fixed.Clone()
		if clientCAs == nil {
			return now
		}
		if now.ClientCAs = clientCAs(); now.ClientCAs != nil {
			now.ClientAuth = tls.RequestClientCert
		}
		return now
	}
}

// tlsVersion is the version of a name; config has checked it.
func tlsVersion(name string) uint16 {
	switch name {
	case "VersionTLS10":
		return tls.VersionTLS10
	case "VersionTLS11":
		return tls.VersionTLS11
	case "VersionTLS13":
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
