// Package identity knows who a user is: web authorization, mini program login,
// and the sessions that both begin.
package identity
