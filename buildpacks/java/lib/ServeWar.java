import java.io.File;
import java.nio.file.Files;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** Serves a war file at PORT with Tomcat. Ends if the application cannot start, so that the push shows why. */
public class ServeWar {
  public static void main(String[] arguments) throws Exception {
    File base = Files.createTempDirectory("tomcat").toFile();
    new File(base, "webapps").mkdir();
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(base.getPath());
    tomcat.setPort(Integer.parseInt(System.getenv("PORT")));
    tomcat.enableNaming();
    tomcat.getConnector();
    Context application = tomcat.addWebapp("", new File(arguments[0]).getAbsolutePath());
    tomcat.start();
    if (!application.getState().isAvailable()) {
      System.exit(1);
    }
    tomcat.getServer().await();
  }
}
