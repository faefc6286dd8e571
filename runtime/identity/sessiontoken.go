package identity

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken is the most of a JWT that is looked at, in bytes.
const maxToken = 4096

// sessionKey is what is derived from one key of the server.
type sessionKey struct {
	id      string // kid: the key's thumbprint (RFC 7638)
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	refresh []byte // of the tags of refresh tokens
}

func newSessionKey(key []byte) (sessionKey, error) {
	if len(key) != ed25519.SeedSize {
		return sessionKey{}, fmt.Errorf("the server's key has %d bytes, it must have %d", len(key), ed25519.SeedSize)
	}
	seed, err := hkdf.Key(sha256.New, key, nil, "weft session", ed25519.SeedSize)
	if err != nil {
		return sessionKey{}, fmt.Errorf("derive the key of sessions: %w", err)
	}
	refresh, err := hkdf.Key(sha256.New, key, nil, "weft refresh", sha256.Size)
	if err != nil {
		return sessionKey{}, fmt.Errorf("derive the key of refresh tokens: %w", err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	k := sessionKey{private: private, public: private.Public().(ed25519.PublicKey), refresh: refresh}
	// RFC 8037, appendix A.3: the members that the thumbprint is over.
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encoding.EncodeToString(k.public) + `"}`))
	k.id = encoding.EncodeToString(sum[:])
	return k, nil
}

// jwk is a public key (RFC 8037).
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func writeJWKS(keys []sessionKey) ([]byte, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	for _, k := range keys {
		set.Keys = append(set.Keys, jwk{Type: "OKP", Curve: "Ed25519", X: encoding.EncodeToString(k.public), ID: k.id, Use: "sig", Algorithm: "EdDSA"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("write the keys that verify sessions: %w", err)
	}
	return b, nil
}

// sessionClaims is what a JWT says. The app is its audience.
type sessionClaims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid"`
	OpenID    string `json:"openid,omitempty"`
	UnionID   string `json:"unionid,omitempty"`
}

func (s *Sessions) writeToken(c SessionConfig, id sessionID, r record) (string, error) {
	now := s.now().Truncate(time.Second)
	claims := sessionClaims{SessionID: id.String(), RegisteredClaims: jwt.RegisteredClaims{
		Issuer: s.issuer(), Audience: jwt.ClaimStrings{c.App},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(c.Session)),
	}}
	if slices.Contains(c.Claims, ClaimOpenID) {
		claims.OpenID = r.OpenID
	}
	if slices.Contains(c.Claims, ClaimUnionID) {
		claims.UnionID = r.UnionID
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = s.keys[0].id
	signed, err := token.SignedString(s.keys[0].private)
	if err != nil {
		return "", fmt.Errorf("sign a session: %w", err)
	}
	return signed, nil
}

// readToken checks a JWT: signature, algorithm, issuer, app, expiry. Whether its
// session has ended it doesn't know.
func (s *Sessions) readToken(app, text string) (*sessionClaims, error) {
	if len(text) > maxToken {
		return nil, fmt.Errorf("%w: a token of %d bytes is none of ours", ErrSession, len(text))
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(),
		jwt.WithIssuer(s.issuer()), jwt.WithAudience(app), jwt.WithTimeFunc(s.now),
	)
	claims := &sessionClaims{}
	_, err := parser.ParseWithClaims(text, claims, s.verifier)
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience) && !errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return nil, fmt.Errorf("%w: its token has expired", ErrSession)
	}
	return nil, fmt.Errorf("%w: no token of ours for this app", ErrSession) // the cause may hold parts of the token
}

// verifier finds the key that a token names.
func (s *Sessions) verifier(t *jwt.Token) (any, error) {
	for _, k := range s.keys {
		if t.Header["kid"] == k.id {
			return k.public, nil
		}
	}
	return nil, errors.New("no key of ours")
}
