//! Nothing but tests, with their Node packages beside them: `npm ci` puts those in place.
