import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;

/**
 * Writes the certificates of a PEM file into a key store, because Java reads no PEM: java Certificates.java PEM STORE
 */
class Certificates {
  public static void main(String[] files) throws Exception {
    // Without a password, equal certificates give equal bytes, and Java needs no setting to read the store.
    System.setProperty("keystore.pkcs12.certProtectionAlgorithm", "NONE");
    System.setProperty("keystore.pkcs12.macAlgorithm", "NONE");
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    int number = 0;
    try (FileInputStream pem = new FileInputStream(files[0])) {
      for (Certificate certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem))
        store.setCertificateEntry("certificate-" + number++, certificate);
    }
    try (FileOutputStream out = new FileOutputStream(files[1])) {
      store.store(out, null);
    }
  }
}
