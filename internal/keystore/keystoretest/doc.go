// Package keystoretest is what every key store must do, as a test suite, and a
// key store in memory for the tests of those who use one.
//
//	func TestContract(t *testing.T) {
//		keystoretest.Run(t, func(t *testing.T) keystore.Store { return ... })
//	}
package keystoretest
